#!/usr/bin/env bash
# Runs a command with a Slurm of its own: munged, slurmctld and slurmd of one node, as whoever calls
# this, in a new folder under TMPDIR and on free ports; all are taken down and the folder is removed
# when the command ends. No system folder is written.
#
#   tests/slurm/up.sh COMMAND...       SLURM_CONF is set for it
#
# Exit code: the command's; 77 (with the reason as last line) where Slurm cannot be started.
set -uo pipefail

folder=$(mktemp -d)
daemons=()
# shellcheck disable=SC2317 # called by the trap
down() {
  local pid
  # slurmd first: it would try again to reach the others
  for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null; done
  for pid in "${daemons[@]}"; do
    for ((i = 0; i < 50; i++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  rm -rf "$folder"
}
trap down EXIT
trap 'exit 143' TERM INT

cannot() {
  tail -n 5 "$folder"/*.log 2>/dev/null
  echo "Slurm cannot be started: $*"
  exit 77
}

export PATH=$PATH:/usr/sbin:/sbin
for program in munged slurmctld slurmd sbatch; do
  command -v "$program" >/dev/null || cannot "$program is not installed"
done
free_ports() { # so many ports that nobody listens on
  /usr/bin/python3 -c '
import socket, sys
open_now = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in open_now))' "$1"
}
read -r controller_port node_port < <(free_ports 2) || cannot "no free ports"
user=$(id -un) host=$(hostname -s)
mkdir "$folder/state" "$folder/spool" && chmod 755 "$folder"
export SLURM_CONF=$folder/slurm.conf

(umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
# cred_expire: a task that is queued again waits so long; 120 s by default.
cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge.sock,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,default_queue_depth=200
ReturnToService=2
KillWait=3
MinJobAge=600
MailProg=/bin/true
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
SlurmdParameters=config_overrides
CONF

munged --foreground --socket="$folder/munge.sock" --key-file="$folder/munge.key" \
  --log-file="$folder/munged.log" --pid-file="$folder/munged.pid" \
  --seed-file="$folder/munged.seed" >"$folder/munged.out.log" 2>&1 &
daemons=($!)
for ((i = 0; i < 50; i++)); do
  [[ ! -S $folder/munge.sock ]] || break
  sleep 0.1
done
[[ -S $folder/munge.sock ]] || cannot "munged"
slurmctld -D -i -f "$SLURM_CONF" >"$folder/slurmctld.out.log" 2>&1 &
daemons=($! "${daemons[@]}")
slurmd -D -f "$SLURM_CONF" >"$folder/slurmd.out.log" 2>&1 &
daemons=($! "${daemons[@]}")
for ((i = 0; i < 100; i++)); do
  if [[ $(sinfo -h -o %T 2>/dev/null) == idle ]]; then ready=yes; break; fi
  sleep 0.2
done
[[ ${ready-no} == yes ]] || cannot "the node does not come up: $(sinfo 2>&1 | tail -n 1)"

code=0
"$@" || code=$?
((code == 0)) || tail -n 30 "$folder"/slurm*.log
exit "$code"
