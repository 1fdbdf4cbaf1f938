/* llama2c_tokenizer.h - parsing from memory. Local. */
#ifndef FC_TEXT_LLAMA2C_TOKENIZER_H
#define FC_TEXT_LLAMA2C_TOKENIZER_H

#include "text_file.h"

/* DATA for a malformed file. */
fc_err fc_llama2c_tokenizer_parse(const fc_text_file *file, fc_tokenizer **out);

#endif
