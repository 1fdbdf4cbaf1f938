/* options.c - data.*: which dataset, and how it is split over the devices. */
#include "fedcell/fc_data.h"
#include "split.h"

static const char *task_name(size_t i) {
  static const char *const names[] = {"classify", "lm"};
  return i < 2 ? names[i] : NULL;
}

static const fc_option data_options[] = {
    {"data.dataset", FC_OPT_CHOICE, "", "generated-sentiment", FC_OPTION_ANY, fc_dataset_name,
     "What is learned. generated-*: made by the program from the seed; the others are read from "
     "files (see `fedcell list datasets`)."},
    {"data.dir", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Folder of the dataset's files. Empty: $FEDCELL_DATA/<dataset>, else $FEDCELL_DATA."},
    {"data.train_file", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Name of the train file in data.dir. Empty: the dataset's own name; jsonl and csv need it."},
    {"data.test_file", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "Name of the test file in data.dir. Empty: the dataset's own name; where there is none, "
     "data.test_fraction of the train file is used."},
    {"data.column_a", FC_OPT_STRING, "", "text", FC_OPTION_ANY, NULL,
     "jsonl, csv: column of the text (task classify) or of the prompt (task lm)."},
    {"data.column_b", FC_OPT_STRING, "", "", FC_OPTION_ANY, NULL,
     "jsonl, csv: column of the second text (task classify) or of the answer (task lm). Empty: "
     "none; for lm the whole text is then learned."},
    {"data.column_label", FC_OPT_STRING, "", "label", FC_OPTION_ANY, NULL,
     "jsonl, csv: column of the label, a number or a text; classes are sorted by name, whole "
     "numbers by value."},
    {"data.task", FC_OPT_CHOICE, "", "classify", FC_OPTION_ANY, task_name,
     "jsonl, csv: classify texts, or lm: learn to continue a prompt with its answer."},
    {"data.test_fraction", FC_OPT_REAL, "", "0.1", 0.0, 0.9, NULL,
     "Part of the samples that becomes the test part where the dataset has none of its own; every "
     "class gives its share."},
    {"data.public_fraction", FC_OPT_REAL, "", "0.2", 0.0, 0.9, NULL,
     "Part of the train samples that the server holds as public data; every class gives its "
     "share. The devices divide the rest."},
    {"data.samples", FC_OPT_INT, "samples", "0", 0, 4e9, NULL,
     "Train samples. Generators: how many (0: 8192). Files: at most so many, drawn at random (0: "
     "all)."},
    {"data.test_samples", FC_OPT_INT, "samples", "0", 0, 4e9, NULL,
     "Test samples. Generators: how many (0: 1024). Files: at most so many, drawn at random (0: "
     "all)."},
    {"data.max_length", FC_OPT_INT, "tokens", "128", 8, 1048576, NULL,
     "Longer sequences are cut to so many tokens, special tokens included."},
};
const fc_option_table fc_data_options = FC_OPTION_TABLE("data: what is learned", data_options);

fc_data_settings fc_data_settings_read(const fc_config *cfg) {
  return (fc_data_settings){.dataset = fc_config_string(cfg, "data.dataset"),
                            .dir = fc_config_string(cfg, "data.dir"),
                            .train_file = fc_config_string(cfg, "data.train_file"),
                            .test_file = fc_config_string(cfg, "data.test_file"),
                            .column_a = fc_config_string(cfg, "data.column_a"),
                            .column_b = fc_config_string(cfg, "data.column_b"),
                            .column_label = fc_config_string(cfg, "data.column_label"),
                            .task = fc_config_string(cfg, "data.task"),
                            .test_fraction = fc_config_real(cfg, "data.test_fraction"),
                            .public_fraction = fc_config_real(cfg, "data.public_fraction"),
                            .samples = fc_config_int(cfg, "data.samples"),
                            .test_samples = fc_config_int(cfg, "data.test_samples")};
}

static const fc_option split_options[] = {
    {"data.split", FC_OPT_CHOICE, "", "dirichlet", FC_OPTION_ANY, fc_split_name,
     "How the devices divide the train samples. iid: at random, equal sizes. dirichlet: equal "
     "sizes, each device with its own mix of classes. sizes: at random, unequal sizes. both: own "
     "mix and unequal sizes. shards: sorted by class, cut into shards, each device gets a few."},
    {"data.alpha", FC_OPT_REAL, "", "0.5", 1e-3, 1e6, NULL,
     "dirichlet, both: concentration of a device's mix of classes; small: few classes a device."},
    {"data.size_alpha", FC_OPT_REAL, "", "1.0", 1e-3, 1e6, NULL,
     "sizes, both: concentration of the devices' shares; small: very unequal."},
    {"data.shards_per_device", FC_OPT_INT, "", "2", 1, 1000, NULL,
     "shards: how many a device gets."},
    {"data.min_samples", FC_OPT_INT, "samples", "1", 0, 1e9, NULL,
     "Every device has at least so many samples; they are taken from the largest."},
    {"data.device_test_fraction", FC_OPT_REAL, "", "0.0", 0.0, 0.9, NULL,
     "Part of each device's samples that it keeps for testing instead of training."},
};
const fc_option_table fc_split_options =
    FC_OPTION_TABLE("data: split over the devices", split_options);

fc_split_settings fc_split_settings_read(const fc_config *cfg) {
  return (fc_split_settings){.split = fc_config_string(cfg, "data.split"),
                             .alpha = fc_config_real(cfg, "data.alpha"),
                             .size_alpha = fc_config_real(cfg, "data.size_alpha"),
                             .shards_per_device = (int)fc_config_int(cfg, "data.shards_per_device"),
                             .min_samples = fc_config_int(cfg, "data.min_samples"),
                             .device_test_fraction =
                                 fc_config_real(cfg, "data.device_test_fraction")};
}
