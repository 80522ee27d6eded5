package tokenizer

import (
	"errors"
	"fmt"
)

// ErrVocabulary is wrapped by the errors about a vocabulary that contradicts
// itself or lacks a part.
var ErrVocabulary = errors.New("bad vocabulary")

// UnsupportedError names a metadata key whose value asks for a tokenizer that
// this package does not implement.
type UnsupportedError struct {
	Key   string
	Value string
}

// Error names the key, the value and what would do.
func (e *UnsupportedError) Error() string {
	switch e.Key {
	case keyModel:
		return fmt.Sprintf("%s %q is not supported; supported: gpt2 (byte-level BPE)", e.Key, e.Value)
	case keyPre:
		return fmt.Sprintf("%s %q is not supported; supported: gpt-2, llama-bpe, qwen2, smollm", e.Key, e.Value)
	}
	return fmt.Sprintf("%s %q is not supported", e.Key, e.Value)
}
