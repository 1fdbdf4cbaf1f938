/* table.c - every dataset the program knows: one row each.
 *
 * File names and columns are those of the published files: [GSM8K], [GLUE] for SST-2 and QNLI,
 * [Zhang+ 2015] for Yahoo Answers and AG News (csv without a header, classes counted from 1),
 * [MNIST].
 */
#include "dataset.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const fc_label_name sentiment[] = {{"0", "negative"}, {"1", "positive"}};
static const fc_label_name entailment[] = {{"entailment", "entailment"},
                                           {"not_entailment", "not_entailment"}};
static const fc_label_name yahoo[] = {
    {"1", "Society & Culture"},
    {"2", "Science & Mathematics"},
    {"3", "Health"},
    {"4", "Education & Reference"},
    {"5", "Computers & Internet"},
    {"6", "Sports"},
    {"7", "Business & Finance"},
    {"8", "Entertainment & Music"},
    {"9", "Family & Relationships"},
    {"10", "Politics & Government"},
};
static const fc_label_name agnews[] = {
    {"1", "World"}, {"2", "Sports"}, {"3", "Business"}, {"4", "Sci/Tech"}};
static const fc_label_name digits[] = {{"0", "0"}, {"1", "1"}, {"2", "2"}, {"3", "3"}, {"4", "4"},
                                       {"5", "5"}, {"6", "6"}, {"7", "7"}, {"8", "8"}, {"9", "9"}};

/* Joined into one text: of three columns the class's name is left out, it would be the answer. */
static const fc_layout yahoo_layouts[] = {
    {.fields = 3, .label = 0, .first = 2, .last = 2, .columns = "class,name,text"},
    {.fields = 4, .label = 0, .first = 1, .last = 3, .columns = "class,title,question,answer"}};
static const fc_layout agnews_layouts[] = {
    {.fields = 3, .label = 0, .first = 1, .last = 2, .columns = "class,title,description"}};

static const fc_dataset_kind kinds[] = {
    {.name = "generated-sentiment",
     .meaning = "embedded: film reviews from a grammar with negation and contrast, 2 classes",
     .task = FC_TASK_CLASSIFY,
     .labels = sentiment,
     .n_labels = COUNT(sentiment),
     .generator = &fc_generate_sentiment},
    {.name = "generated-topics",
     .meaning = "embedded: sentences on 10 topics, with words of other topics mixed in",
     .task = FC_TASK_CLASSIFY,
     .labels = fc_topic_labels,
     .n_labels = FC_TOPICS,
     .generator = &fc_generate_topics},
    {.name = "generated-entailment",
     .meaning = "embedded: question and sentence; does the sentence answer it? (form of QNLI)",
     .task = FC_TASK_CLASSIFY,
     .labels = entailment,
     .n_labels = COUNT(entailment),
     .generator = &fc_generate_entailment},
    {.name = "generated-problems",
     .meaning = "embedded: word problems with worked answers that end in #### n (form of GSM8K)",
     .task = FC_TASK_LM,
     .generator = &fc_generate_problems},
    {.name = "generated-digits",
     .meaning = "embedded: drawn digits, 28 x 28 pixels (form of MNIST)",
     .task = FC_TASK_IMAGE,
     .labels = digits,
     .n_labels = COUNT(digits),
     .generator = &fc_generate_digits},
    {.name = "gsm8k",
     .meaning = "GSM8K word problems: train.jsonl, test.jsonl",
     .task = FC_TASK_LM,
     .form = FC_FILE_JSONL,
     .format =
         {.task = FC_TASK_LM, .column_a = "question", .column_b = "answer", .column_label = ""},
     .train = {"train.jsonl"},
     .test = {"test.jsonl"}},
    {.name = "sst2",
     .meaning = "GLUE SST-2 sentiment: train.tsv, dev.tsv as test part",
     .task = FC_TASK_CLASSIFY,
     .labels = sentiment,
     .n_labels = COUNT(sentiment),
     .form = FC_FILE_DELIMITED,
     .format = {.task = FC_TASK_CLASSIFY,
                .delimiter = '\t',
                .column_a = "sentence",
                .column_b = "",
                .column_label = "label"},
     .train = {"train.tsv"},
     .test = {"dev.tsv"}},
    {.name = "qnli",
     .meaning = "GLUE QNLI question and sentence: train.tsv, dev.tsv as test part; without "
                "train.tsv, dev.tsv is divided by data.test_fraction",
     .task = FC_TASK_CLASSIFY,
     .labels = entailment,
     .n_labels = COUNT(entailment),
     .form = FC_FILE_DELIMITED,
     .format = {.task = FC_TASK_CLASSIFY,
                .delimiter = '\t',
                .column_a = "question",
                .column_b = "sentence",
                .column_label = "label"},
     .train = {"train.tsv", "dev.tsv"},
     .test = {"dev.tsv"}},
    {.name = "yahoo",
     .meaning = "Yahoo Answers, 10 topics: train.csv and test.csv, or yahoo10.csv; "
                "class,title,question,answer or class,name,text",
     .task = FC_TASK_CLASSIFY,
     .labels = yahoo,
     .n_labels = COUNT(yahoo),
     .form = FC_FILE_DELIMITED,
     .format = {.task = FC_TASK_CLASSIFY,
                .delimiter = ',',
                .quotes = true,
                .layouts = yahoo_layouts,
                .n_layouts = COUNT(yahoo_layouts),
                .unescape_newlines = true},
     .train = {"train.csv", "yahoo10.csv"},
     .test = {"test.csv"}},
    {.name = "agnews",
     .meaning = "AG News, 4 topics: train.csv, test.csv; class,title,description",
     .task = FC_TASK_CLASSIFY,
     .labels = agnews,
     .n_labels = COUNT(agnews),
     .form = FC_FILE_DELIMITED,
     .format = {.task = FC_TASK_CLASSIFY,
                .delimiter = ',',
                .quotes = true,
                .layouts = agnews_layouts,
                .n_layouts = COUNT(agnews_layouts)},
     .train = {"train.csv"},
     .test = {"test.csv"}},
    {.name = "mnist",
     .meaning = "MNIST digits: train- and t10k- images-idx3-ubyte and labels-idx1-ubyte, plain or "
                ".gz",
     .task = FC_TASK_IMAGE,
     .labels = digits,
     .n_labels = COUNT(digits),
     .form = FC_FILE_IDX,
     .train = {"train-images-idx3-ubyte", "train-images.idx3-ubyte"},
     .test = {"t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"}},
    {.name = "jsonl",
     .meaning = "your own: one json object a line, keys by data.column_*, files by data.train_file "
                "and data.test_file",
     .form = FC_FILE_JSONL,
     .by_user = true},
    {.name = "csv",
     .meaning = "your own: csv with a header line, columns by data.column_*, files by "
                "data.train_file and data.test_file",
     .form = FC_FILE_DELIMITED,
     .format = {.delimiter = ',', .quotes = true},
     .by_user = true},
};

const fc_dataset_kind *fc_dataset_kind_get(size_t i) {
  return i < COUNT(kinds) ? &kinds[i] : NULL;
}

const char *fc_dataset_name(size_t i) {
  return i < COUNT(kinds) ? kinds[i].name : NULL;
}

const char *fc_dataset_meaning(size_t i) {
  return i < COUNT(kinds) ? kinds[i].meaning : NULL;
}
