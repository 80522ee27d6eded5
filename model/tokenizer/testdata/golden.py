#!/usr/bin/env python3
"""Writes golden.json: ids of hard strings by the Rust tokenizers library.

    golden.py TESTDATA MODEL.gguf

TESTDATA is the folder that scripts/testdata.sh fills, MODEL.gguf the
SmolLM2-135M-Instruct of `make model`. Needs tokenizers 0.23.3 and gguf.

Also writes the classes of all code points (letter, number, space of the
library's regular expressions) as a SHA-256, and its normalisation of strings.
"""
import base64, hashlib, json, os, sys, random
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from gguf import GGUFReader

TESTDATA, MODEL = sys.argv[1:3]

# --- vocabularies -----------------------------------------------------------

def alphabet():
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    out, extra = {}, 0x100
    for b in range(256):
        if b in keep:
            out[b] = chr(b)
        else:
            out[b] = chr(extra)
            extra += 1
    return out, keep + [b for b in range(256) if b not in keep]

ALPHABET, ORDER = alphabet()

def spell(raw):
    return "".join(ALPHABET[b] for b in raw)

def gpt2():
    with open(os.path.join(TESTDATA, "gpt2.bpe"), encoding="utf-8") as f:
        merges = [tuple(line.split()) for line in f.read().split("\n")[1:] if line]
    tokens = [ALPHABET[b] for b in ORDER] + [a + b for a, b in merges]
    return tokens, merges, [("<|endoftext|>", True)], False

def ranks(name):
    with open(os.path.join(TESTDATA, name), "rb") as f:
        return [base64.b64decode(line.split()[0]) for line in f if line.strip()]

def all_splits(tokens):
    """Every pair of tokens that makes a token, as transformers writes them."""
    rank, merges = {t: i for i, t in enumerate(tokens)}, []
    for t in tokens:
        pairs = [(t[:i], t[i:]) for i in range(1, len(t)) if t[:i] in rank and t[i:] in rank]
        merges += sorted(pairs, key=lambda p: (rank[p[0]], rank[p[1]]))
    return [(spell(a), spell(b)) for a, b in merges]

def one_split(tokens):
    """The pair that byte-pair encoding with the lower ranks leaves of each token."""
    rank, merges = {t: i for i, t in enumerate(tokens)}, []
    for i, t in enumerate(tokens):
        parts = [bytes([b]) for b in t]
        while len(parts) > 2:
            best, at = min((rank.get(parts[k] + parts[k + 1], i), k) for k in range(len(parts) - 1))
            if best >= i:
                break
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            merges.append((spell(parts[0]), spell(parts[1])))
    return merges

LLAMA3_NAMED = {0: "<|begin_of_text|>", 1: "<|end_of_text|>", 6: "<|start_header_id|>", 7: "<|end_header_id|>", 9: "<|eot_id|>"}

def llama3():
    tokens = ranks("llama3.tiktoken")
    special, n = [], 0
    for i in range(256):
        if i in LLAMA3_NAMED:
            special.append((LLAMA3_NAMED[i], True))
        else:
            special.append((f"<|reserved_special_token_{n}|>", True))
            n += 1
    return [spell(t) for t in tokens], all_splits(tokens), special, True

def qwen2():
    tokens = ranks("qwen2.tiktoken")
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
               "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
               "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
    plain = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
             "<|repo_name|>", "<|file_sep|>"]
    return [spell(t) for t in tokens], one_split(tokens), [(t, True) for t in control] + [(t, False) for t in plain], False

def smollm():
    fields = GGUFReader(MODEL).fields
    get = lambda key: fields["tokenizer.ggml." + key].contents()
    tokens, merges = get("tokens"), [tuple(m.split(" ")) for m in get("merges")]
    control = [t for t, kind in zip(tokens, get("token_type")) if kind == 3]
    return tokens, merges, [(t, True) for t in control], False

GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
RAW = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

def pattern(digits):
    return (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + digits +
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

def split(digits):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern(digits)), "isolated"), RAW])

SPLITS = {
    "gpt-2": (gpt2, GPT2, None),
    "smollm": (smollm, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]), None),
    "llama-bpe": (llama3, split("{1,3}"), None),
    "qwen2": (qwen2, split(""), normalizers.NFC()),
}

def build(source, pre, normalizer, with_special):
    tokens, merges, special, ignore_merges = source
    t = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(tokens)}, merges=merges, ignore_merges=ignore_merges))
    t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    if with_special:
        t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s, control in special if control])
        plain = [AddedToken(s, normalized=False, special=False) for s, control in special if not control]
        if plain:
            t.add_tokens(plain)
    return t

# --- strings ----------------------------------------------------------------

def noise(seed, alphabet, n):
    r = random.Random(seed)
    return "".join(r.choice(alphabet) for _ in range(n))

PIECES = ["'", "s", "S", "ſ", "ll", "LL", "re", "'ve", " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "a", "é", "e\u0301", "ß",
          "1", "23", "٤", "Ⅷ", "²", "…", "!", "—", "(", "日", "本", "한", "\u1112\u1161\u11ab", "🙂", "👩\u200d🚀", "\u200b", "\u0001", "\ufeff", "_", "𝒜"]

STRINGS = [
    "", " ", "a", "Hello, world!", "The quick brown fox jumps over the lazy dog.",
    "  two leading, two trailing  ", "tab\there\t\tand\t\t\tthere", "line\nline\n\nline\n\n\n  indented\n",
    "CRLF\r\nCRLF\r\n\r\n end\r", "\n", "\n\n \n  \n", "   \n\t \r\n  x", " \u00a0\u3000mixed\u2003blanks\u2028and\u2029lines\u0085",
    "trailing newline after punctuation!\n\n\nnext", "a \n b  \n  c   \n   d",
    "I'm you're he's she'd we'll they've don't", "I'M YOU'RE HE'S SHE'D WE'LL THEY'VE DON'T", "it'ſ 'ſure 'S 's 'T't 'Lland 'lL",
    "'tis 'twas rock 'n' roll o'clock '90s", "don’t — “quoted” ‘single’", "''s ' s '' 'sx 'd1",
    "0 1 12 123 1234 12345 123456 1234567890", "3.14159 -1,000,000.00 1e-9 0x1F 1_000", "v1.2.3-rc.4 2024-02-30T23:59:60Z",
    "٠١٢٣٤٥ ०१२३४५ ๐๑๒๓ 一二三 ⅠⅡⅢⅣ ①②③ ½⅔ ²³ 𝟎𝟏𝟐", "a1b22c333d4444", "   1   22\t333\n4444",
    "日本語のテキストをトークン化する。", "中文分词：我爱自然语言处理，你呢？", "한국어 형태소 분석은 어렵다", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165",
    "Привет, мир! Ёжик в тумане", "Ελληνικά ΣΊΣΥΦΟΣ ςσ", "שלום עולם, מה שלומך?", "مرحبا بالعالم، كيف حالك؟ ١٢٣",
    "\u202eright to left\u202c \u200fmarks\u200e and\u2066isolates\u2069", "हिन्दी में नमस्ते क्षत्रिय", "ภาษาไทยไม่มีช่องว่าง", "தமிழ் மொழி", "ខ្មែរ ລາວ မြန်မာ ཨོཾ་མ་ཎི",
    "🙂😀🎉🔥", "👨‍👩‍👧‍👦 family 👩🏽‍🚀 🏳️‍🌈 🇩🇪🇯🇵", "☺️☺︎ ❤️‍🔥 #️⃣ 1️⃣", "👍🏻👍🏼👍🏽👍🏾👍🏿", "\u200d\u200c\ufe0f\u20e3",
    "é vs e\u0301, ñ vs n\u0303, Å vs \u212b vs A\u030a", "q\u0307\u0323 q\u0323\u0307 s\u0323\u0307 d\u0307\u0323", "Z\u0351\u036b\u0343\u036a\u0302a\u0321\u034e\u0337l\u0321\u0353g\u0331\u033co",
    "a" + "\u0301" * 40 + "b" + "\u0323\u0301" * 25, "\u0344 \u0958 \u2126 \ufb1d \uf900 \U0001d15e \u0f73\u0f71", "ﬁ ﬂ ﬆ Ⅻ ㎏ ｆｕｌｌｗｉｄｔｈ", "Tiếng Việt: ế ệ ữ ợ",
    "def f(x):\n    return x**2  # square\n\n\nprint(f(3))\n", "for (int i=0;i<10;++i){\n\tprintf(\"%d\\n\", i);\n}", "<div class=\"a\">\n  <p>Hi &amp; bye</p>\n</div>",
    "{\"key\": [1, 2.5, null, true], \"ключ\": \"знач\"}", "SELECT * FROM t WHERE a>=1 AND b<>'x';", "https://example.com/a/b?c=d&e=f#g user@host.tld",
    "!!!???...---===***###", "((((((((()))))))))", "_snake_case camelCase PascalCase SCREAMING_CASE kebab-case", "a,b;c:d.e!f?g/h\\i|j",
    "$5 €10 £20 ¥30 ₹40 ₿50 100%", "±×÷≠≤≥∞∑∏√∫ ∀x∈ℝ ∃y", "x² + y³ = z⁴, H₂O",
    "\x00\x01\x02\x03\x04\x07\x08\x0b\x0c\x0e\x1b[31m\x7f", "a\x04b\x06c\x13d\x14e", "\ufeffBOM and \ufffd replacement \ufffc object \ufffe \uffff", "\ue000 private \U000f0000 use \U0010ffff",
    "\U00010400 𝒜𝓑𝕮 𐍈 𓀀 \U0002ebf0 \U00031350 \U000105c0 \U0001e5f1", "ǅ ǈ ʰ ˢ ª º ꞌ \u0345 \u16ee",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", "<|im_start|><|im_start <|im_end|>|> <tool_call>{}</tool_call> <repo_name>x<|file_sep|><file_sep>",
    "text<|endoftext|>  <|endoftext|>e\u0301<|endoftext|>\u0301 <|reserved_special_token_1|><|reserved_special_token_10|>",
    "a" * 1000, " " * 300, "\n" * 200, "ab" * 300, "1" * 100, "." * 257, "日" * 100, "🙂" * 60, "x" * 33 + " " * 17 + "\n" * 9 + " " * 5 + "y", " a" * 200,
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism",
    "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch", "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
] + [noise(seed, PIECES, 120) for seed in range(8)]

def classes():
    patterns = [pre_tokenizers.Split(Regex(p), "removed") for p in (r"\p{L}", r"\p{N}", r"\s")]
    digest = hashlib.sha256()
    for c in range(0x110000):
        char = "a" if 0xD800 <= c < 0xE000 else chr(c)
        digest.update(bytes([sum(1 << i for i, p in enumerate(patterns) if p.pre_tokenize_str(char) == [])]))
    return digest.hexdigest()

MARKS = "ae\u0301\u0323\u0327\u0344\u0f71\u0f72\u0f73\u1100\u1161\u11a8\uac00\u09c7\u09be\u0b47\u0b56\u212b\u1e69\U000110a5\U000110ba\u3099か\u0061"

# Marks that came after the Unicode of the library's normaliser, out of order.
LATE = ["a\u0301\u0898\u0323", "e\u1abf\u0301\u0323 \u1df8\u0321", "\U00011935\U00011930", "\u0345\u08ca\U0001e4ec\u0327"]

def main():
    out = {"tokenizers": tokenizers.__version__, "classes": classes(), "strings": STRINGS, "splits": {}}
    nfc = normalizers.NFC()
    out["nfc"] = [[s, nfc.normalize_str(s)] for s in [noise(100 + n, MARKS, 1 + n * 2) for n in range(40)] + LATE]
    for name, (load, pre, normalizer) in SPLITS.items():
        source = load()
        plain, special = build(source, pre, normalizer, False), build(source, pre, normalizer, True)
        encode = lambda t, s: t.encode(s, add_special_tokens=False).ids
        ids = [encode(plain, s) for s in STRINGS]
        parsed = [encode(special, s) for s in STRINGS]
        out["splits"][name] = {
            "vocab": special.get_vocab_size(),
            "special": source[2] if name != "smollm" else [],
            "plain": ids,
            "parsed": {str(i): p for i, p in enumerate(parsed) if p != ids[i]},
            "text": {str(i): t for i, t in enumerate(special.decode(p) for p in parsed) if t != STRINGS[i]},
        }
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json"), "w") as f:
        json.dump(out, f, separators=(",", ":"), ensure_ascii=True)
    print(len(STRINGS), "strings")

main()
