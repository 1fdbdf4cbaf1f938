"""FL-DLT3's networks and TD3 give PyTorch's outputs, gradients of both losses, and weights after ten updates.

The yardstick is torch.nn.Linear and torch.nn.LSTM, trained by TD3 as its paper writes it with torch.optim.Adam, in double precision. It gets
fedcell's first weights, the episodes that fedcell drew and the normal numbers of its noise; limits, targets, losses, the order of steps and
the targets' way are its own. Every tensor must agree within TOLERANCE of its norm, weights of that at the beginning if it is larger: single
precision leaves 4e-7 of it.

    FEDCELL_BUILD=build python tests/oracle/test_fldlt3_parity.py        exit code 1: a difference; 77: skipped
"""

import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5

try:
    import numpy
    import torch
    from safetensors.numpy import load_file, save_file

    MISSING = None
except ImportError as e:
    MISSING = f"the Python packages torch and safetensors are missing ({e})"

EPISODES, ROUNDS, STATES, ACTIONS = 6, 7, 9, 4
JOB = {"states": STATES, "actions": ACTIONS, "rounds": ROUNDS, "hidden": 20, "learning_rate": 3e-3, "gamma": 0.9, "tau": 0.1, "delay": 2,
       "noise": 0.8, "noise_limit": 1.2, "batch": 5, "seed": 4, "steps": 10, "predict": False}
NAMES = {"lstm.weight_ih_l0": "lstm.weight_ih", "lstm.weight_hh_l0": "lstm.weight_hh", "lstm.bias_ih_l0": "lstm.bias"}  # torch's: fedcell's
REPORTS = ("value_loss", "value", "critic_gradient", "actor_value", "prediction_error")


def driver():
    build = pathlib.Path(os.environ.get("FEDCELL_BUILD", ROOT / "build"))
    places = [build / "tests" / "oracle_fldlt3", build / "oracle_fldlt3"]
    return next((str(p) for p in places if p.is_file()), None)


def episodes():
    generator = numpy.random.default_rng(5)
    return {"state": generator.normal(size=(EPISODES, ROUNDS, STATES)).astype(numpy.float32),
            "action": generator.uniform(-1, 1, size=(EPISODES, ROUNDS, ACTIONS)).astype(numpy.float32),
            "reward": generator.normal(3, 2, size=(EPISODES, ROUNDS)).astype(numpy.float32)}


def with_last_action(state, action):
    """What the branch with the LSTM reads; before the first round there is no action."""
    return numpy.concatenate([state, numpy.concatenate([0 * action[:, :1], action[:, :-1]], 1)], 2)


def rows(x):
    """(episodes, rounds, n) as time-major rows."""
    return numpy.ascontiguousarray(x.swapaxes(0, 1)).reshape(-1, x.shape[2])


if not MISSING:

    class Network(torch.nn.Module):
        def __init__(self, a, b, hidden, outputs):
            super().__init__()
            self.dense_a = torch.nn.Linear(a, hidden)
            self.dense_b = torch.nn.Linear(b, hidden)
            self.lstm = torch.nn.LSTM(hidden, hidden, batch_first=True)
            self.lstm.bias_hh_l0.requires_grad_(False).zero_()  # fedcell's LSTM has one bias
            self.dense_z = torch.nn.Linear(2 * hidden, hidden)
            self.out = torch.nn.Linear(hidden, outputs)

        def forward(self, a, b):
            p = torch.relu(self.dense_a(a))
            h, _ = self.lstm(torch.relu(self.dense_b(b)))
            return self.out(torch.relu(self.dense_z(torch.cat([p, h], -1))))

        def parts(self):
            return {NAMES.get(name, name): p for name, p in self.named_parameters() if p.requires_grad}

        def read(self, tensors, before):
            with torch.no_grad():
                for name, p in self.parts().items():
                    p.copy_(torch.from_numpy(tensors[f"{before}.{name}"]).reshape(p.shape))
            return self


class TD3:
    """[Fujimoto+ 2018] on whole episodes, (episodes, rounds, n) everywhere."""

    def __init__(self, job, first, episodes):
        both, self.job = STATES + ACTIONS, job
        actor = Network(STATES, both, job["hidden"], ACTIONS + (STATES if job["predict"] else 0)).double()
        critic = Network(both, both, job["hidden"], 1).double()
        self.actor, self.actor_target = (copy.deepcopy(actor).read(first, f"{when}/actor") for when in ("begin", "begin_target"))
        self.critics, self.critics_target = ([copy.deepcopy(critic).read(first, f"{when}/critic{c}") for c in range(2)]
                                             for when in ("begin", "begin_target"))
        self.actor_adam = torch.optim.Adam(self.actor.parts().values(), job["learning_rate"])
        self.critics_adam = torch.optim.Adam([p for c in self.critics for p in c.parts().values()], job["learning_rate"])
        self.state, self.action, reward = (torch.from_numpy(episodes[k]).double() for k in ("state", "action", "reward"))
        self.past = torch.from_numpy(with_last_action(episodes["state"], episodes["action"])).double()
        self.reward = (reward - reward.mean()) / (reward.std(unbiased=False) + 1e-6)
        self.seen = {"noise cut": 0, "action cut": 0, "first twin smaller": 0, "second twin smaller": 0}

    def networks(self):
        return {"actor": self.actor, "critic0": self.critics[0], "critic1": self.critics[1]}

    def targets(self):
        return {"actor": self.actor_target, "critic0": self.critics_target[0], "critic1": self.critics_target[1]}

    def act(self, actor, drawn):
        out = actor(self.state[drawn], self.past[drawn])
        return torch.tanh(out[..., :ACTIONS]), out[..., ACTIONS:]

    def judge(self, critic, drawn, action):
        return critic(torch.cat([self.state[drawn], action], -1), self.past[drawn])[..., 0]

    def target_values(self, drawn, normal):
        with torch.no_grad():
            noise, limit = self.job["noise"] * normal, self.job["noise_limit"]
            smoothed = self.act(self.actor_target, drawn)[0] + noise.clamp(-limit, limit)
            twins = [self.judge(c, drawn, smoothed.clamp(-1, 1)) for c in self.critics_target]
            cases = [noise.abs() > limit, smoothed.abs() > 1, twins[0] < twins[1], twins[1] < twins[0]]
            self.seen = {case: n + int(x.sum()) for (case, n), x in zip(self.seen.items(), cases)}
            y = self.reward[drawn].clone()
            y[:, :-1] += self.job["gamma"] * torch.minimum(*twins)[:, 1:]
            return y

    def critics_step(self, drawn, normal):
        y = self.target_values(drawn, normal)
        q = [self.judge(c, drawn, self.action[drawn]) for c in self.critics]
        losses = [torch.nn.functional.mse_loss(x, y) for x in q]
        self.critics_adam.zero_grad()
        sum(losses).backward()
        gradients = [p.grad for c in self.critics for p in c.parts().values()]
        self.critics_adam.step()
        return {"value_loss": float(sum(losses)) / 2, "value": float(sum(q).mean()) / 2,
                "critic_gradient": float(sum((g**2).sum() for g in gradients) ** 0.5)}

    def actor_step(self, drawn):
        action, told = self.act(self.actor, drawn)
        q = self.judge(self.critics[0], drawn, action)
        loss, report = -q.mean(), {"actor_value": float(q.mean())}
        if self.job["predict"]:
            error = torch.nn.functional.mse_loss(told[:, :-1], self.state[drawn][:, 1:])
            loss = loss + error * (ROUNDS - 1) / ROUNDS  # a mean over all rounds, of which the last tells nothing
            report["prediction_error"] = float(error)
        self.actor_adam.zero_grad()
        loss.backward()
        self.actor_adam.step()
        return report

    def follow(self):
        tau = self.job["tau"]
        with torch.no_grad():
            for name, target in self.targets().items():
                for p, x in zip(target.parameters(), self.networks()[name].parameters()):
                    p.copy_((1 - tau) * p + tau * x)


def in_theta(p):
    p = p.detach().numpy().copy()
    return p.reshape(1, -1) if p.ndim == 1 else p


def named(before, networks, value=lambda p: p):
    return {f"{before}/{net}.{name}": in_theta(value(p)) for net, network in networks.items() for name, p in network.parts().items()}


def outputs(td3):
    everything = slice(None)
    joint = torch.cat([td3.state, td3.action], -1)
    outs = {net: network(td3.state if net == "actor" else joint, td3.past) for net, network in td3.networks().items()}
    return {"out/" + net: rows(out.detach().numpy()) for net, out in outs.items()}


def yardstick(job, got, episodes):
    td3 = TD3(job, got, episodes)
    expected = {**named("begin", td3.networks()), **named("begin_target", td3.targets()), **outputs(td3)}
    drawn = torch.from_numpy(got["batch"]).long()
    normal = torch.from_numpy(got["noise"]).double().reshape(job["steps"], job["batch"], ROUNDS, ACTIONS)
    reports = {name: numpy.zeros((1, job["steps"])) for name in REPORTS}
    for u in range(job["steps"]):
        report = td3.critics_step(drawn[u], normal[u])
        if u == 0:
            expected.update(named("grad", {f"critic{i}": c for i, c in enumerate(td3.critics)}, lambda p: p.grad))
        if (u + 1) % job["delay"] == 0:
            report.update(td3.actor_step(drawn[u]))
            if u + 1 == job["delay"]:
                expected.update(named("grad", {"actor": td3.actor}, lambda p: p.grad))
            td3.follow()
        for name, x in report.items():
            reports[name][0, u] = x
    expected.update({"report/" + name: x for name, x in reports.items()})
    expected.update({**named("end", td3.networks()), **named("end_target", td3.targets())})
    return expected, td3.seen


@unittest.skipIf(MISSING, MISSING)
@unittest.skipUnless(driver(), "oracle_fldlt3 is not built (FEDCELL_BUILD)")
class FLDLT3Parity(unittest.TestCase):
    def run_fedcell(self, job, data):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "job.json").write_text(json.dumps(job))
            save_file(data, folder / "data.safetensors")
            done = subprocess.run([driver(), folder / "job.json", folder / "data.safetensors", folder / "out.safetensors"],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            return load_file(folder / "out.safetensors")

    def compare(self, job):
        x = episodes()
        beside = {"rows/state": x["state"], "rows/past": with_last_action(x["state"], x["action"]),
                  "rows/joint": numpy.concatenate([x["state"], x["action"]], 2)}
        got = self.run_fedcell(job, {**x, **{name: rows(value) for name, value in beside.items()}})
        want, seen = yardstick(job, got, x)
        self.assertEqual(sorted(got), sorted([*want, "batch", "noise"]))
        self.assertTrue(all(n >= 30 for n in seen.values()), seen)  # of 350 values, 1400 actions
        worst = {}
        for name, expected in want.items():
            ours = got[name].astype(numpy.float64)
            self.assertEqual(ours.shape, expected.shape, name)
            first = want[name.replace("end", "begin")]  # a lone bias may have come close to 0
            norm, difference = max(numpy.linalg.norm(expected), numpy.linalg.norm(first)), numpy.linalg.norm(ours - expected)
            self.assertTrue(difference <= TOLERANCE * norm, f"{name} differs by {difference:.3g}, its norm is {norm:.3g}")  # NaN fails
            kind = name.split("/")[0]
            worst[kind] = max(worst.get(kind, (0.0, "")), (difference / norm if norm else 0.0, name))
        print("\n  largest differences: " + ", ".join(f"{x:.2g} in {name}" for x, name in worst.values() if name), end="")

    def test_ten_updates(self):
        self.compare(JOB)

    def test_with_prediction_and_another_delay(self):
        self.compare({**JOB, "predict": True, "delay": 3})


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=1).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun and len(result.skipped) == result.testsRun:
        print(f"skipped: {result.skipped[0][1]}")
        sys.exit(77)
