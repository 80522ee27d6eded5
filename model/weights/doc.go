// Package weights reads model files and says exactly which model they are.
//
// [Open] reads the header of a GGUF file: metadata, reached by typed getters,
// and a table of tensors, shapes outermost first ([out, in]), each of a
// [tensor.DType]. [Checkpoint.Data] gives the packed bytes of one tensor, mapped
// on demand and alone, so that a process that uses some blocks of a model holds
// the pages of those and no others.
//
// [Checkpoint.Manifest] reads the whole file once and returns its [Manifest]:
// the SHA-256 of every tensor, of the configuration, the tokenizer and the chat
// template. The manifest's digest is the identity of the model. It is cached,
// so that later starts read no tensor they do not use; with one in hand,
// [Checkpoint.Verify] checks any subset of the tensors.
//
// A [Packer] gives matrices in the form that kernels want, which a [Layout]
// describes: from files of a cache, mapped and shared between processes,
// written the first time that a group of matrices is asked for. They are as
// good as absent unless every byte is the one that was written.
//
// Files are hostile until checked: every count, size and offset is compared
// with a limit and with the length of the file before it is believed, and what
// is wrong is an error that names the file and the key or tensor.
//
// The package does no arithmetic on weights and knows nothing of architectures,
// networks or the catalog.
package weights
