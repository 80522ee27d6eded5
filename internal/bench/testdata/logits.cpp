// logits prints the logits of every position of a text, as llama.cpp computes
// them: the other side of the accuracy row. scripts/llamacpp.sh builds it.
//
//   logits MODEL.gguf THREADS BATCH on|off|auto repack|plain < ids > logits
//
// ids: int32, little-endian, at most 8192. logits: for each id one row of float32
// as long as the vocabulary. The key-value cache is of f16, llama.cpp's default.
// The system line goes to standard error.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "llama.h"

static int fail(const char *what) {
    fprintf(stderr, "logits: %s\n", what);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 6) return fail("usage: logits MODEL THREADS BATCH on|off|auto repack|plain");
    const int threads = atoi(argv[2]), batch = atoi(argv[3]);
    if (threads < 1 || batch < 1) return fail("threads and batch must be positive");

    std::vector<llama_token> ids(8193);
    ids.resize(fread(ids.data(), sizeof(llama_token), ids.size(), stdin));
    if (ids.empty() || ids.size() > 8192) return fail("no ids or too many");

    llama_log_set([](ggml_log_level level, const char *text, void *) {
        if (level >= GGML_LOG_LEVEL_WARN) fputs(text, stderr);
    }, nullptr);
    llama_backend_init();
    llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = 0;
    mp.use_extra_bufts = !strcmp(argv[5], "repack");
    llama_model *model = llama_model_load_from_file(argv[1], mp);
    if (!model) return fail("the model does not load");

    llama_context_params cp = llama_context_default_params();
    cp.n_ctx = ids.size();
    cp.n_batch = cp.n_ubatch = batch;
    cp.n_threads = cp.n_threads_batch = threads;
    cp.flash_attn_type = !strcmp(argv[4], "on")    ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                         : !strcmp(argv[4], "off") ? LLAMA_FLASH_ATTN_TYPE_DISABLED
                                                   : LLAMA_FLASH_ATTN_TYPE_AUTO;
    llama_context *ctx = llama_init_from_model(model, cp);
    if (!ctx) return fail("no context");
    fprintf(stderr, "%s\n", llama_print_system_info());

    const size_t vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    llama_batch b = llama_batch_init(batch, 0, 1);
    for (size_t at = 0; at < ids.size(); at += b.n_tokens) {
        b.n_tokens = 0;
        for (int i = 0; i < batch && at + i < ids.size(); i++, b.n_tokens++) {
            if (ids[at + i] < 0 || size_t(ids[at + i]) >= vocab) return fail("an id is outside the vocabulary");
            b.token[i] = ids[at + i];
            b.pos[i] = at + i;
            b.n_seq_id[i] = 1;
            b.seq_id[i][0] = 0;
            b.logits[i] = 1;
        }
        if (llama_decode(ctx, b)) return fail("decode failed");
        for (int i = 0; i < b.n_tokens; i++)
            if (fwrite(llama_get_logits_ith(ctx, i), sizeof(float), vocab, stdout) != vocab) return fail("nobody reads");
    }
    llama_batch_free(b);
    llama_free(ctx);
    llama_model_free(model);
    return fflush(stdout) ? fail("nobody reads") : 0;
}
