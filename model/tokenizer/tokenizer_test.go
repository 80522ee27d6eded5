package tokenizer

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
)

// id returns the token with this text.
func id(tb testing.TB, t *Tokenizer, text string) inference.TokenID {
	tb.Helper()
	id, ok := t.Lookup(text)
	if !ok {
		tb.Fatalf("no token %q", text)
	}
	return id
}

func TestSpecialTokensAreFoundLeftmostLongest(t *testing.T) {
	tok := smallTokenizer(t, "gpt-2")
	start, im, end := id(t, tok, "<|im_start|>"), id(t, tok, "<|im"), id(t, tok, "<|im_end|>")
	for text, want := range map[string][]inference.TokenID{
		"<|im_start|>":                  {start},
		"<|im_start|":                   append([]inference.TokenID{im}, tok.Encode("_start|", false)...),
		"<|im<|im_end|>":                {im, end},
		"<<|im_end|><tool_call>":        append(tok.Encode("<", false), end, id(t, tok, "<tool_call>")),
		"<unk><|im_start|><|endoftext|": append([]inference.TokenID{id(t, tok, "<unk>"), start}, tok.Encode("<|endoftext|", false)...),
		"[PAD0]":                        tok.Encode("[PAD0]", false),
	} {
		if got := tok.Encode(text, true); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestPlainTextNeverMakesASpecialToken(t *testing.T) {
	for _, pre := range splitNames {
		tok := tokenizerOf(t, pre)
		for text := range map[string]bool{"<|endoftext|>": true, "<|im_start|>system\n": true, "<|eot_id|>": true, "<tool_call>": true} {
			for _, id := range tok.Encode("x "+text+text+" y", false) {
				if k := tok.tokens.kind(id); k != kindNormal {
					t.Errorf("%s: %q gave token %d of kind %d", pre, text, id, k)
				}
			}
		}
	}
}

func TestPartsCutOnlySpecialTokens(t *testing.T) {
	for _, pre := range splitNames {
		tok := tokenizerOf(t, pre)
		// Harmless text: the cuts do not show, wherever they are.
		for _, text := range []string{"Hello  world\n\n\nnext line", "e\u0301\n \n123456", "it's 12 o'clock"} {
			want := tok.Encode("<|im_start|>user\n"+text+"<|im_end|>\n<|endoftext|>", true)
			for cut := range text {
				got := tok.EncodeParts([]Part{{"<|im_start|>user\n", true}, {text[:cut], false}, {text[cut:], false}, {"<|im_end|>\n", true}, {"<|endoftext|>", true}})
				if !slices.Equal(got, want) {
					t.Errorf("%s: %q cut at %d: got %v, want %v", pre, text, cut, got, want)
				}
			}
		}
		// A special token in data, or put together from data, is text.
		want := tok.Encode("<|endoftext|>", false)
		for _, parts := range [][]Part{
			{{"<|endoftext|>", false}},
			{{"<|endof", true}, {"text|>", false}},
			{{"<|endof", true}, {"text|>", true}},
		} {
			if got := tok.EncodeParts(parts); !slices.Equal(got, want) {
				t.Errorf("%s: %v: got %v, want %v", pre, parts, got, want)
			}
		}
	}
}

// naiveMerge is the definition: the lowest rank anywhere, leftmost, until none.
func naiveMerge(t *Tokenizer, word string) []inference.TokenID {
	var ids []inference.TokenID
	for i := range len(word) {
		if id := t.bytes[word[i]]; id != none {
			ids = append(ids, id)
		}
	}
	for {
		best, at := merge{rank: ^uint32(0)}, -1
		for i := range len(ids) - 1 {
			if m, ok := t.merges[pair{ids[i], ids[i+1]}]; ok && m.rank < best.rank {
				best, at = m, i
			}
		}
		if at < 0 {
			return ids
		}
		ids = slices.Replace(ids, at, at+2, best.id)
	}
}

func TestMergeEqualsTheDefinition(t *testing.T) {
	for _, pre := range splitNames {
		tok := tokenizerOf(t, pre)
		for _, s := range golden(t).Strings {
			if len(s) > 300 {
				s = s[:300]
			}
			if got, want := tok.merge(nil, s), naiveMerge(tok, s); !slices.Equal(got, want) {
				t.Errorf("%s: %q: got %v, want %v", pre, s, got, want)
			}
		}
	}
}

func TestLongWordsTakeNoQuadraticTime(t *testing.T) {
	const n = 1 << 20
	for _, c := range []struct{ pre, unit string }{{"gpt-2", "a"}, {"smollm", " "}, {"llama-bpe", "\n"}, {"qwen2", "e\u0301"}, {"qwen2", "\u0301"}} {
		tok := tokenizerOf(t, c.pre)
		text := strings.Repeat(c.unit, n/len(c.unit))
		begin := time.Now()
		ids := tok.Encode(text, true)
		took := time.Since(begin)
		t.Logf("%s: 1 MiB of %q: %d ids in %v", c.pre, c.unit, len(ids), took.Round(time.Millisecond))
		if took > 20*time.Second { // a second or so is usual; n² would be an hour
			t.Errorf("%s: 1 MiB of %q took %v", c.pre, c.unit, took)
		}
	}
}

func TestWordCacheIsBoundedAndKeepsNoPrompt(t *testing.T) {
	c := newWordCache()
	for i := range 4 * cacheSlots {
		c.put(strings.Repeat("x", i%100)+string(rune('a'+i%26)), []inference.TokenID{inference.TokenID(i)})
	}
	if len(c.slots) != cacheSlots {
		t.Errorf("%d slots, want %d", len(c.slots), cacheSlots)
	}
	for i := range c.slots {
		if e := c.slots[i].Load(); e != nil && len(e.word) > maxCachedWord {
			t.Errorf("word of %d bytes is kept", len(e.word))
		}
	}
	ids := []inference.TokenID{1, 2}
	c.put("word", ids)
	ids[0] = 9
	if got, ok := c.get("word"); !ok || got[0] != 1 {
		t.Errorf("cached ids %v follow the caller's", got)
	}
}

func TestTokenizerIsSafeForConcurrentUse(t *testing.T) {
	tok := smallTokenizer(t, "llama-bpe")
	want := tok.Encode(smallText, true)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				if got := tok.Encode(smallText, true); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			}
		})
	}
	group.Wait()
}

func TestSteadyStateEncodeAllocatesOnlyItsResult(t *testing.T) {
	tok := smallTokenizer(t, "gpt-2")
	word := " the"
	buf := make([]inference.TokenID, 0, 16)
	if n := testing.AllocsPerRun(100, func() { buf = tok.encodePlain(buf[:0], word) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestUnsupportedTokenizersAreNamed(t *testing.T) {
	for _, c := range []struct {
		key   string
		value any
		want  string
	}{
		{keyModel, "llama", `tokenizer: tokenizer.ggml.model "llama" is not supported; supported: gpt2 (byte-level BPE)`},
		{keyModel, nil, `tokenizer: tokenizer.ggml.model "" is not supported; supported: gpt2 (byte-level BPE)`},
		{keyPre, "deepseek-llm", `tokenizer: tokenizer.ggml.pre "deepseek-llm" is not supported; supported: gpt-2, llama-bpe, qwen2, smollm`},
		{keyPre, nil, `tokenizer: tokenizer.ggml.pre "" is not supported; supported: gpt-2, llama-bpe, qwen2, smollm`},
		{keyAddEOS, true, `tokenizer: tokenizer.ggml.add_eos_token "true" is not supported`},
	} {
		m := smallMetadata("gpt-2")
		m[c.key] = c.value
		_, err := FromGGUF(m)
		var unsupported *UnsupportedError
		if !errors.As(err, &unsupported) || unsupported.Key != c.key || err.Error() != c.want {
			t.Errorf("%s = %v: got %v, want %s", c.key, c.value, err, c.want)
		}
	}
}

func TestMalformedVocabulariesGiveErrors(t *testing.T) {
	for name, change := range map[string]func(metadata){
		"no tokens":           func(m metadata) { delete(m, keyTokens) },
		"no types":            func(m metadata) { delete(m, keyTypes) },
		"fewer types":         func(m metadata) { m[keyTypes] = m[keyTypes].([]int64)[1:] },
		"type 6":              func(m metadata) { m[keyTypes].([]int64)[3] = 6 },
		"type -1":             func(m metadata) { m[keyTypes].([]int64)[3] = -1 },
		"no merges":           func(m metadata) { delete(m, keyMerges) },
		"merge of one token":  func(m metadata) { m[keyMerges].([]string)[0] = "ab" },
		"merge of three":      func(m metadata) { m[keyMerges].([]string)[0] = "a b c" },
		"merge without left":  func(m metadata) { m[keyMerges].([]string)[0] = " b" },
		"merge of strangers":  func(m metadata) { m[keyMerges].([]string)[0] = "日 本" },
		"merge twice":         func(m metadata) { l := m[keyMerges].([]string); l[0] = l[1] },
		"token twice":         func(m metadata) { m[keyTokens].([]string)[1] = m[keyTokens].([]string)[0] },
		"empty token":         func(m metadata) { m[keyTokens].([]string)[1] = "" },
		"long token":          func(m metadata) { m[keyTokens].([]string)[300] = strings.Repeat("x", maxTokenBytes+1) },
		"bos out of range":    func(m metadata) { m[keyBOS] = uint64(1 << 20) },
		"eos out of range":    func(m metadata) { m[keyEOS] = uint64(1 << 63) },
		"eot out of range":    func(m metadata) { m[keyEOT] = uint64(len(m[keyTokens].([]string))) },
		"eom out of range":    func(m metadata) { m[keyEOM] = ^uint64(0) },
		"a million tokens":    func(m metadata) { m[keyTokens] = make([]string, maxTokens+1) },
		"two million merges":  func(m metadata) { m[keyMerges] = make([]string, maxMerges+1) },
		"64 MiB of tokens":    manyLongTokens,
		"a byte is two words": func(m metadata) { m[keyMerges].([]string)[0] = "a  b" },
	} {
		m := smallMetadata("gpt-2")
		change(m)
		if _, err := FromGGUF(m); !errors.Is(err, ErrVocabulary) {
			t.Errorf("%s: got %v, want ErrVocabulary", name, err)
		} else if len(err.Error()) > 300 {
			t.Errorf("%s: error of %d bytes", name, len(err.Error()))
		}
	}
}

// manyLongTokens fills the vocabulary with distinct tokens of the largest size.
func manyLongTokens(m metadata) {
	long := strings.Repeat("y", maxTokenBytes-8)
	var tokens []string
	var types []int64
	for i := range maxTextBytes/len(long) + 1 {
		tokens = append(tokens, long+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676)))
		types = append(types, int64(kindNormal))
	}
	m[keyTokens], m[keyTypes] = tokens, types
}

func TestEveryEndOfTurnTokenIsKnown(t *testing.T) {
	m := smallMetadata("gpt-2")
	n := len(m[keyTokens].([]string))
	m[keyTokens] = append(m[keyTokens].([]string), "<|eot_id|>", "<|end|>", "<|eom|>")
	m[keyTypes] = append(m[keyTypes].([]int64), int64(kindControl), int64(kindUserDefined), int64(kindControl))
	m[keyEOM] = uint64(n + 2)
	tok, err := FromGGUF(m)
	if err != nil {
		t.Fatal(err)
	}
	// <|end|> is not a control token, so text may hold it.
	want := []inference.TokenID{id(t, tok, "<|endoftext|>"), id(t, tok, "<|im_end|>"), id(t, tok, "<|eot_id|>"), id(t, tok, "<|eom|>")}
	if !slices.Equal(tok.EOG(), want) {
		t.Errorf("got %v, want %v", tok.EOG(), want)
	}

	smol := tokenizerOf(t, "smollm")
	if want := []inference.TokenID{0, 2}; !slices.Equal(smol.EOG(), want) {
		t.Errorf("SmolLM2: got %v, want %v", smol.EOG(), want)
	}
}

func TestMetadataOfTheDemoModel(t *testing.T) {
	tok := tokenizerOf(t, "smollm")
	if bos, ok := tok.BOS(); !ok || bos != 1 || tok.AddBOS() {
		t.Errorf("bos %d %v, add %v; want 1 true, false", bos, ok, tok.AddBOS())
	}
	if !strings.Contains(tok.ChatTemplate(), "add_generation_prompt") {
		t.Errorf("template %q", tok.ChatTemplate())
	}
	if id, ok := tok.Lookup(" the"); !ok || string(tok.Bytes(id)) != " the" || tok.IsSpecial(id) {
		t.Errorf("Lookup( the) = %d %v", id, ok)
	}
	if id, ok := tok.Lookup("<|im_end|>"); !ok || id != 2 || !tok.IsSpecial(id) {
		t.Errorf("Lookup(<|im_end|>) = %d %v", id, ok)
	}
	if _, ok := tok.Lookup("no such token"); ok || tok.Bytes(-1) != nil || tok.Bytes(1<<30) != nil || tok.IsSpecial(-1) {
		t.Error("ids and texts that there are not are found")
	}
}

func TestLlamaAddsBOSUnlessToldOtherwise(t *testing.T) {
	for _, c := range []struct {
		pre  string
		add  any
		bos  any
		want bool
	}{
		{"llama-bpe", nil, uint64(3), true}, {"llama-bpe", false, uint64(3), false}, {"llama-bpe", nil, nil, false},
		{"gpt-2", nil, uint64(3), false}, {"qwen2", true, uint64(3), true}, {"qwen2", true, nil, false},
	} {
		m := smallMetadata(c.pre)
		m[keyAddBOS], m[keyBOS] = c.add, c.bos
		tok, err := FromGGUF(m)
		if err != nil {
			t.Fatal(err)
		}
		if tok.AddBOS() != c.want {
			t.Errorf("%+v: got %v", c, tok.AddBOS())
		}
	}
}
