package tokenizer

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/farlabs/inference"
)

func TestStreamNeverEmitsHalfACharacter(t *testing.T) {
	for _, pre := range splitNames {
		tok := tokenizerOf(t, pre)
		for _, text := range golden(t).Strings {
			ids := tok.Encode(text, true)
			want := tok.Decode(ids)
			s, got := tok.NewStream(), ""
			for _, id := range ids {
				piece := s.Push(id)
				if !utf8.ValidString(piece) {
					t.Fatalf("%s: %q: piece %q", pre, text, piece)
				}
				if strings.ContainsRune(piece, utf8.RuneError) && !strings.ContainsRune(text, utf8.RuneError) {
					t.Fatalf("%s: %q: piece %q before the character was whole", pre, text, piece)
				}
				if len(s.held) > 3 {
					t.Fatalf("%s: holds %d bytes", pre, len(s.held))
				}
				got += piece
			}
			if got += s.Flush(); got != want {
				t.Errorf("%s: stream gave %q, Decode %q", pre, got, want)
			}
		}
	}
}

func TestInvalidBytesBecomeOneReplacementEachMaximalPart(t *testing.T) {
	// The examples of the Unicode Standard 3.9 and of String::from_utf8_lossy.
	for in, want := range map[string]string{
		"":                                 "",
		"plain":                            "plain",
		"a\xff\xfeb":                       "a��b",
		"\xe2\x82":                         "�",
		"\xe2\x82A":                        "�A",
		"\xe2\xe2\x82\xac":                 "�€",
		"\xf0\x9f\x99":                     "�",
		"\xf0\x9f\x99\xf0\x9f\x99\x82":     "�🙂",
		"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82": "��������",
		"\xed\xa0\x80":                     "���",
		"\xf4\x90\x80\x80":                 "����",
		"\x80\x80":                         "��",
		"\xf1\x80\xc2\xe1\x80\xc2\x41":     "����A",
		"kept � itself":                    "kept � itself",
	} {
		if got := valid(in); got != want {
			t.Errorf("valid(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestStreamFlushesAnUnfinishedCharacter(t *testing.T) {
	tok := smallTokenizer(t, "gpt-2")
	s := tok.NewStream()
	e2, b82, ac := tok.bytes[0xE2], tok.bytes[0x82], tok.bytes[0xAC]
	special := id(t, tok, "<|im_end|>")
	steps := []struct {
		id   inference.TokenID
		want string
	}{
		{e2, ""}, {b82, ""}, {ac, "€"}, // whole
		{e2, ""}, {special, ""}, {b82, ""}, {ac, "€"}, // a special token is no text
		{e2, ""}, {tok.bytes['x'], "�x"}, // broken off
		{ac, "�"}, {b82, "�"}, // never begun
		{-5, ""}, {1 << 30, ""}, // no such ids
		{e2, ""}, {b82, ""},
	}
	for i, step := range steps {
		if got := s.Push(step.id); got != step.want {
			t.Errorf("step %d: got %q, want %q", i, got, step.want)
		}
	}
	if got := s.Flush(); got != "�" {
		t.Errorf("Flush: %q", got)
	}
	if got := s.Push(tok.bytes['y']) + s.Flush(); got != "y" {
		t.Errorf("after Flush: %q", got)
	}
}
