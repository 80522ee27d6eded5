package tokenizer

import (
	"unicode/utf8"

	"github.com/farlabs/inference"
)

// Bytes returns the raw bytes of one token: a part of a character, for a
// special token its text, nil for an id out of range.
func (t *Tokenizer) Bytes(id inference.TokenID) []byte {
	s := t.tokens.bytes(id)
	if s == "" {
		return nil
	}
	return []byte(s)
}

// Decode returns the text of ids. Special ([Tokenizer.IsSpecial]) and unused
// tokens and ids out of range are skipped; each maximal invalid part of the
// bytes becomes U+FFFD.
func (t *Tokenizer) Decode(ids []inference.TokenID) string {
	var raw []byte
	for _, id := range ids {
		raw = append(raw, t.visible(id)...)
	}
	return valid(string(raw))
}

// visible returns the bytes that a token adds to text.
func (t *Tokenizer) visible(id inference.TokenID) string {
	switch t.tokens.kind(id) {
	case kindNormal, kindUserDefined:
		return t.tokens.bytes(id)
	}
	return ""
}

// Stream decodes ids one by one. What its calls return, put together, is what
// Decode returns for the same ids, and each piece is whole characters.
type Stream struct {
	t    *Tokenizer
	held []byte // the beginning of a character, at most 3 bytes between calls
}

// NewStream begins a text.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t} }

// Push returns the text that became certain with id; often "" when a character
// is spread over several tokens.
func (s *Stream) Push(id inference.TokenID) string {
	text := s.t.visible(id)
	if text == "" {
		return ""
	}
	s.held = append(s.held, text...)
	end := len(s.held) - unfinished(s.held)
	out := valid(string(s.held[:end]))
	s.held = append(s.held[:0], s.held[end:]...)
	return out
}

// Flush returns what is held back, as U+FFFD, and begins a new text.
func (s *Stream) Flush() string {
	out := valid(string(s.held))
	s.held = s.held[:0]
	return out
}

// unfinished returns the length of the incomplete character at the end of b,
// one that more bytes could still complete; 0 to 3.
func unfinished(b []byte) int {
	for n := 1; n <= 3 && n <= len(b); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}

// valid returns s with each maximal invalid part replaced by U+FFFD: a
// well-formed beginning of a character that breaks off counts once, any other
// wrong byte once each (Unicode 3.9, table 3-8; String::from_utf8_lossy).
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	out := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			// FullRune is false of what could still become a character.
			for i+n < len(s) && !utf8.FullRuneInString(s[i:i+n+1]) {
				n++
			}
			out = utf8.AppendRune(out, utf8.RuneError)
		} else {
			out = append(out, s[i:i+n]...)
		}
		i += n
	}
	return string(out)
}
