package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind byte

const (
	eof       kind = iota
	data           // text outside tags
	blockOpen      // {%
	blockEnd       // %}
	exprOpen       // {{
	exprEnd        // }}
	name           // identifier
	str            // string literal; the token's val is a Str
	number         // number literal; the token's val is an integer or a float64
	op             // operator or bracket
)

type token struct {
	kind kind
	text string
	val  Value
	line int
}

// is reports whether t is the operator or identifier text.
func (t token) is(k kind, text string) bool { return t.kind == k && t.text == text }

func (t token) describe() string {
	switch t.kind {
	case eof:
		return "end of template"
	case data:
		return "template text"
	case blockOpen:
		return "begin of statement block"
	case blockEnd:
		return "end of statement block"
	case exprOpen:
		return "begin of print statement"
	case exprEnd:
		return "end of print statement"
	case str:
		return "string"
	}
	return strconv.Quote(t.text)
}

// lexer cuts template source into tokens. Whitespace control is settled here:
// a newline after a block tag or comment is dropped (trim_blocks), blanks
// between the start of a line and such a tag are dropped (lstrip_blocks), "-"
// at either end of a tag strips all whitespace there, "+" keeps it.
type lexer struct {
	src     string
	pos     int
	line    int
	counted int // src[:counted] is included in line
	toks    []token
	// atLineStart: the text consumed last ended in a newline, or nothing was
	// consumed yet.
	atLineStart bool
}

func lex(source string) ([]token, error) {
	source = strings.ReplaceAll(source, "\r\n", "\n")
	source = strings.ReplaceAll(source, "\r", "\n")
	source = strings.TrimSuffix(source, "\n")
	l := &lexer{src: source, line: 1, atLineStart: true}
	for l.pos < len(l.src) {
		if err := l.root(); err != nil {
			return nil, &Error{Line: l.lineAt(l.pos), Err: err}
		}
	}
	l.emit(eof, "", nil, l.pos)
	return l.toks, nil
}

// lineAt returns the line of a position; positions ascend.
func (l *lexer) lineAt(pos int) int {
	if pos > l.counted {
		l.line += strings.Count(l.src[l.counted:pos], "\n")
		l.counted = pos
	}
	return l.line
}

func (l *lexer) emit(k kind, text string, v Value, pos int) {
	l.toks = append(l.toks, token{kind: k, text: text, val: v, line: l.lineAt(pos)})
}

func (l *lexer) rest() string { return l.src[l.pos:] }

// advance moves past the next n bytes and notes whether they end a line.
func (l *lexer) advance(n int) {
	if n > 0 {
		l.atLineStart = l.src[l.pos+n-1] == '\n'
	}
	l.pos += n
}

// root reads text up to the next tag, and that tag.
func (l *lexer) root() error {
	start := l.pos
	open := start
	for {
		i := strings.IndexByte(l.src[open:], '{')
		if i < 0 || open+i+1 >= len(l.src) {
			l.emit(data, l.src[start:], nil, start)
			l.advance(len(l.src) - start)
			return nil
		}
		open += i
		if c := l.src[open+1]; c == '%' || c == '{' || c == '#' {
			break
		}
		open++
	}
	tag := l.src[open+1]
	n := 2
	sign := byte(0)
	if open+2 < len(l.src) && (l.src[open+2] == '-' || l.src[open+2] == '+') {
		sign = l.src[open+2]
		n = 3
	}
	l.text(start, open, sign, tag != '{')
	l.advance(open - start)
	switch tag {
	case '#':
		l.advance(n)
		return l.comment()
	case '%':
		if m := rawOpen(l.rest()); m > 0 {
			l.advance(m)
			return l.raw()
		}
		l.emit(blockOpen, "", nil, l.pos)
	default:
		l.emit(exprOpen, "", nil, l.pos)
	}
	l.advance(n)
	return l.tag(tag == '%')
}

// text emits the text before a tag after stripping it as the tag's sign asks.
func (l *lexer) text(start, end int, sign byte, strip bool) {
	t := l.src[start:end]
	switch {
	case sign == '-':
		t = strings.TrimRightFunc(t, isSpace)
	case sign != '+' && strip:
		i := strings.LastIndexByte(t, '\n') + 1
		if (i > 0 || l.atLineStart) && strings.TrimLeftFunc(t[i:], isSpace) == "" {
			t = t[:i]
		}
	}
	if t != "" {
		l.emit(data, t, nil, start)
	}
}

// closing returns the length of a tag's end at the start of s, or 0. Block
// tags and comments take a "+" and eat one newline.
func closing(s, end string, block bool) int {
	switch {
	case strings.HasPrefix(s, "-"+end):
		return 1 + len(end) + len(s[1+len(end):]) - len(strings.TrimLeftFunc(s[1+len(end):], isSpace))
	case block && strings.HasPrefix(s, "+"+end):
		return 1 + len(end)
	case strings.HasPrefix(s, end):
		if block && strings.HasPrefix(s[len(end):], "\n") {
			return len(end) + 1
		}
		return len(end)
	}
	return 0
}

// comment skips to the end of a comment. A sign just before the end belongs
// to it.
func (l *lexer) comment() error {
	i := strings.Index(l.rest(), "#}")
	if i < 0 {
		return fmt.Errorf("missing end of comment tag")
	}
	if i > 0 && (l.rest()[i-1] == '-' || l.rest()[i-1] == '+') {
		i--
	}
	l.advance(i)
	l.advance(closing(l.rest(), "#}", true))
	return nil
}

// rawOpen returns the length of a {% raw %} tag at the start of s, or 0.
func rawOpen(s string) int {
	t := s[2:]
	if t != "" && (t[0] == '-' || t[0] == '+') {
		t = t[1:]
	}
	t, ok := strings.CutPrefix(strings.TrimLeftFunc(t, isSpace), "raw")
	if !ok {
		return 0
	}
	t = strings.TrimLeftFunc(t, isSpace)
	switch {
	case strings.HasPrefix(t, "-%}"):
		t = strings.TrimLeftFunc(t[3:], isSpace)
	case strings.HasPrefix(t, "%}"):
		t = t[2:]
	default:
		return 0
	}
	return len(s) - len(t)
}

// raw emits the text up to {% endraw %}.
func (l *lexer) raw() error {
	start := l.pos
	for at := start; ; {
		i := strings.Index(l.src[at:], "{%")
		if i < 0 {
			return fmt.Errorf("missing end of raw directive")
		}
		at += i
		t := l.src[at+2:]
		sign := byte(0)
		if t != "" && (t[0] == '-' || t[0] == '+') {
			sign, t = t[0], t[1:]
		}
		t, ok := strings.CutPrefix(strings.TrimLeftFunc(t, isSpace), "endraw")
		if ok {
			t = strings.TrimLeftFunc(t, isSpace)
			if n := closing(t, "%}", true); n > 0 {
				l.text(start, at, sign, true)
				l.advance(len(l.src) - len(t) + n - start)
				return nil
			}
		}
		at += 2
	}
}

const operators2 = "// ** == != >= <="
const operators1 = "+-/*%~[](){}><=.:|,;"

// tag reads tokens up to the end of a block tag or print tag.
func (l *lexer) tag(block bool) error {
	end, endKind := "}}", exprEnd
	if block {
		end, endKind = "%}", blockEnd
	}
	var open []byte // brackets to be closed
	for l.pos < len(l.src) {
		s := l.rest()
		if len(open) == 0 {
			if n := closing(s, end, block); n > 0 {
				l.emit(endKind, "", nil, l.pos)
				l.advance(n)
				return nil
			}
		}
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case isSpace(r):
			l.advance(size)
		case r >= '0' && r <= '9':
			if err := l.number(s); err != nil {
				return err
			}
		case isNameStart(r):
			n := 0
			for i, r := range s {
				if !isNamePart(r) {
					break
				}
				n = i + utf8.RuneLen(r)
			}
			l.emit(name, s[:n], nil, l.pos)
			l.advance(n)
		case r == '\'' || r == '"':
			if err := l.string(s, byte(r)); err != nil {
				return err
			}
		default:
			n := 1
			if len(s) > 1 && strings.Contains(operators2, s[:2]) && s[1] != ' ' && s[0] != ' ' {
				n = 2
			} else if !strings.ContainsRune(operators1, r) {
				return fmt.Errorf("unexpected char %q", r)
			}
			switch r {
			case '(':
				open = append(open, ')')
			case '[':
				open = append(open, ']')
			case '{':
				open = append(open, '}')
			case ')', ']', '}':
				if len(open) == 0 {
					return fmt.Errorf("unexpected %q", r)
				}
				if want := open[len(open)-1]; want != byte(r) {
					return fmt.Errorf("unexpected %q, expected %q", r, want)
				}
				open = open[:len(open)-1]
			}
			l.emit(op, s[:n], nil, l.pos)
			l.advance(n)
		}
	}
	return nil // the parser reports the missing end
}

func isNameStart(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.Nl, r) }

func isNamePart(r rune) bool {
	return isNameStart(r) || unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc, unicode.Pc)
}
