/* options.c - the options of the cell and of its devices. */
#include "cell.h"

FC_OPTION_CHOICES(noise_name, "allocated", "total")
FC_OPTION_CHOICES(server_power_name, "full", "shared")
FC_OPTION_CHOICES(mobility_name, "static", "waypoint", "redraw")

static const fc_option cell_options[] = {
    {"cell.bandwidth_hz", FC_OPT_REAL, "Hz", "20e6", 1.0, 1e12, NULL,
     "Bandwidth of the cell, shared among the devices of a round (FDMA), the same up and down."},
    {"cell.noise_dbm_per_hz", FC_OPT_REAL, "dBm/Hz", "-174", -250.0, 0.0, NULL,
     "Density of the thermal noise at every receiver; add the noise figure here."},
    {"cell.interference_dbm_per_hz", FC_OPT_REAL, "dBm/Hz", "-300", -300.0, 0.0, NULL,
     "Constant co-channel interference, added to the noise; -300: none."},
    {"cell.noise", FC_OPT_CHOICE, "", "allocated", FC_OPTION_ANY, noise_name,
     "Noise power of a link: over its allocated share, or over the total bandwidth as the rate "
     "formula of JCPBA prints it."},
    {"cell.server_power_w", FC_OPT_REAL, "W", "10", 0.0, 1e6, NULL,
     "Transmit power of the base station."},
    {"cell.server_power", FC_OPT_CHOICE, "", "full", FC_OPTION_ANY, server_power_name,
     "How it is used: full power on every link, as the papers' formulas have it, or shared among "
     "the links in proportion to bandwidth."},
    {"cell.spectral_efficiency_max", FC_OPT_REAL, "bit/s/Hz", "0", 0.0, 1000.0, NULL,
     "Cap of log2(1+SNR), for what real modulations reach; 0: none."},
    {"cell.outage_snr_db", FC_OPT_REAL, "dB", "-300", -300.0, 300.0, NULL,
     "An upload below this SNR is lost; -300: none."},
    {"cell.deadline_s", FC_OPT_REAL, "s", "0", 0.0, 1e12, NULL,
     "A device whose download, work and upload take longer is cut off and lost; 0: none."},

    {"cell.pathloss", FC_OPT_CHOICE, "", "fixed", FC_OPTION_ANY, fc_pathloss_name,
     "Path loss: fixed (cell.pathloss_db), power-law of the distance, or urban macro, urban micro, "
     "rural macro of 3GPP TR 38.901, where uma, umi, rma draw line of sight by its probability."},
    {"cell.pathloss_db", FC_OPT_DIST, "dB", "100", 0.0, 400.0, NULL,
     "Loss of a device with cell.pathloss fixed."},
    {"cell.pathloss_exponent", FC_OPT_REAL, "", "3.8", 1.0, 10.0, NULL,
     "Exponent alpha of the power law d^-alpha."},
    {"cell.pathloss_reference_db", FC_OPT_REAL, "dB", "0", 0.0, 300.0, NULL,
     "Loss of the power law at the reference distance."},
    {"cell.pathloss_reference_m", FC_OPT_REAL, "m", "1", 1e-3, 1e5, NULL,
     "Reference distance of the power law."},
    {"cell.carrier_hz", FC_OPT_REAL, "Hz", "3.5e9", 0.5e9, 100e9, NULL,
     "Carrier frequency, for the 3GPP models."},
    {"cell.base_height_m", FC_OPT_REAL, "m", "0", 0.0, 150.0, NULL,
     "Height of the base station, for the 3GPP models; 0: what the model is made for (uma 25 m, "
     "umi 10 m, rma 35 m)."},
    {"cell.device_height_m", FC_OPT_REAL, "m", "1.5", 1.0, 13.0, NULL,
     "Height of the devices, for the 3GPP models; on upper floors above 13 m they take further "
     "terms, which are not modelled."},
    {"cell.building_height_m", FC_OPT_REAL, "m", "5", 5.0, 50.0, NULL,
     "Average height of buildings, for rma."},
    {"cell.street_width_m", FC_OPT_REAL, "m", "20", 5.0, 50.0, NULL,
     "Average width of streets, for rma."},
    {"cell.radius_m", FC_OPT_REAL, "m", "500", 1.0, 1e6, NULL,
     "Devices are spread evenly over the disc of this radius."},
    {"cell.min_distance_m", FC_OPT_REAL, "m", "10", 0.01, 1e6, NULL,
     "No device counts as closer to the base station than this."},
    {"cell.shadowing_db", FC_OPT_REAL, "dB", "-1", -1.0, 40.0, NULL,
     "Standard deviation of the log-normal shadowing; negative: the model's own (none for fixed "
     "and power-law). Shadowing never makes a gain above 1."},
    {"cell.decorrelation_m", FC_OPT_REAL, "m", "50", 0.1, 1e6, NULL,
     "Distance at which the shadowing and line of sight of a moving device have correlation 1/e."},

    {"cell.fading", FC_OPT_CHOICE, "", "rayleigh", FC_OPTION_ANY, fc_fading_name,
     "Small-scale fading, constant over a round, of mean power 1."},
    {"cell.rician_k_db", FC_OPT_REAL, "dB", "9", -100.0, 100.0, NULL,
     "Rician factor: power of the direct path over that of the scattered ones."},
    {"cell.fading_correlation", FC_OPT_REAL, "", "0", 0.0, 0.999999, NULL,
     "Correlation r of the complex fading gain between neighbouring rounds (Gauss-Markov: r^k "
     "over k rounds)."},
    {"cell.reciprocal", FC_OPT_BOOL, "", "false", FC_OPTION_ANY, NULL,
     "The same fading up and down (one frequency), else independent."},

    {"cell.trace", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "File with channels, one row a round and device: CSV, whose header names columns, or HDF5 "
     "(name "
     "ending in .h5): a result file, or one of the same form, whose /participation holds them. "
     "Columns: round (from 1) and device, gain_up and gain_down (linear power gains, path loss "
     "included), interference_up_w; what it does not hold is drawn. Empty: none."},

    {"cell.mobility", FC_OPT_CHOICE, "", "static", FC_OPTION_ANY, mobility_name,
     "static devices, waypoint (random waypoints at population.speed_mps), or redraw: a new "
     "place, shadowing and fixed loss every round."},
    {"cell.mobility_period_s", FC_OPT_REAL, "s", "60", 0.0, 1e9, NULL,
     "How long a device walks between two rounds. A constant, not the simulated clock, so that "
     "methods of different speed meet the same channels."},
    {"cell.pause_s", FC_OPT_REAL, "s", "0", 0.0, 1e9, NULL, "Rest at each waypoint."},

    {"cell.interferer_density_per_m2", FC_OPT_REAL, "1/m^2", "0", 0.0, 1.0, NULL,
     "Density of base stations whose devices interfere with the upload, a Poisson field; needs "
     "cell.pathloss power-law. 0: none."},
    {"cell.interferer_power_w", FC_OPT_REAL, "W", "0.2", 0.0, 1e6, NULL,
     "Transmit power of each interfering device over the share it occupies."},
};
const fc_option_table fc_cell_options = FC_OPTION_TABLE("cell: the radio", cell_options);

static const fc_option population_options[] = {
    {"population.devices", FC_OPT_INT, "", "100", 1, 1e9, NULL, "Number of devices."},
    {"population.compute_flops", FC_OPT_DIST, "FLOP/s", "1e12", 1.0, 1e21, NULL,
     "Computing speed of a device."},
    {"population.tx_power_w", FC_OPT_DIST, "W", "0.2", 0.0, 1e6, NULL,
     "Transmit power of a device."},
    {"population.energy_per_flop_j", FC_OPT_DIST, "J/FLOP", "5e-12", 0.0, 1.0, NULL,
     "Energy of computing, the part that does not depend on speed."},
    {"population.energy_kappa", FC_OPT_DIST, "J s^2/FLOP^3", "0", 0.0, 1.0, NULL,
     "Energy of computing, the part that grows with speed f: kappa f^2 is added to the energy of "
     "each FLOP."},
    {"population.memory_bytes", FC_OPT_DIST, "byte", "8e9", 0.0, 1e18, NULL, "Memory of a device."},
    {"population.battery_j", FC_OPT_DIST, "J", "0", 0.0, 1e18, NULL,
     "Energy store of a device; 0: mains."},
    {"population.speed_mps", FC_OPT_DIST, "m/s", "1.4", 0.0, 1000.0, NULL,
     "Speed at which a device moves, for cell.mobility waypoint."},
    {"population.trace", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "File with one row a device: CSV, whose header names columns, or HDF5 (name ending in .h5): a "
     "result file, or one of the same form, whose /profile holds columns. Columns: compute_flops, "
     "tx_power_w, energy_per_flop_j, energy_kappa, memory_bytes, battery_j, speed_mps, pathloss_db "
     "(the whole loss), distance_m; what it does not name is drawn. Empty: none."},
};
const fc_option_table fc_population_options =
    FC_OPTION_TABLE("population: the devices", population_options);
