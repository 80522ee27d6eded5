package jinja

import (
	"errors"
	"fmt"
	"html"
	"strings"
	"unicode"
)

func filterCenter(r *run, v Value, p []Value) (Value, error) {
	s, err := r.softStr(v)
	if err != nil {
		return nil, err
	}
	return justify('^')(r, s, []Value{given(p[0], int64(80)), missing})
}

func filterIndent(r *run, v Value, p []Value) (Value, error) {
	s, err := wantStr("indent", v)
	if err != nil {
		return nil, err
	}
	first, blank := truth(given(p[1], false)), truth(given(p[2], false))
	pad, ok := given(p[0], int64(4)).(Str)
	if !ok {
		n, err := r.widthOf(given(p[0], int64(4)))
		if err != nil {
			return nil, err
		}
		pad = Text(strings.Repeat(" ", n))
	}
	// The text gains a newline at its end before it is cut into lines.
	lines := []Str{}
	out, err := splitlines(r, concat(s, Text("\n")), []Value{false})
	if err != nil {
		return nil, err
	}
	for _, l := range out.(*List).items {
		lines = append(lines, l.(Str))
	}
	var b buf
	for i, l := range lines {
		if i > 0 {
			b.lit("\n")
		}
		if i == 0 && first || i > 0 && (blank || l.text != "") {
			b.add(pad)
		}
		b.add(l)
		if err := r.textCost(len(pad.text) + len(l.text)); err != nil {
			return nil, err
		}
		if b.len() > MaxOutput {
			return nil, limitErr("bytes of a text", MaxOutput)
		}
	}
	res := b.str()
	res.safe = s.safe
	return res, nil
}

func filterTruncate(r *run, v Value, p []Value) (Value, error) {
	n, err := wantInt("length", given(p[0], int64(255)))
	if err != nil {
		return nil, err
	}
	end, err := wantStr("end", given(p[2], Text("...")))
	if err != nil {
		return nil, err
	}
	leeway := int64(5)
	if l := given(p[3], nil); l != nil {
		if leeway, err = wantInt("leeway", l); err != nil {
			return nil, err
		}
	}
	size, err := r.length(v)
	if err != nil {
		return nil, err
	}
	keep := n - int64(end.runes())
	switch {
	case keep < 0:
		return nil, fmt.Errorf("expected length >= %d, got %d", end.runes(), n)
	case leeway < 0:
		return nil, fmt.Errorf("expected leeway >= 0, got %d", leeway)
	case size <= n+leeway:
		return v, nil
	}
	s, err := wantStr("truncate", v)
	if err != nil {
		return nil, err
	}
	cut := s.sub(0, s.offset(int(keep)))
	if !truth(given(p[1], false)) {
		if i := strings.LastIndexByte(cut.text, ' '); i >= 0 {
			cut = cut.sub(0, i)
		}
	}
	return r.add(cut, end)
}

func filterWordcount(r *run, v Value, p []Value) (Value, error) {
	s, err := r.softStr(v)
	if err != nil {
		return nil, err
	}
	n, in := int64(0), false
	for _, c := range s.text {
		word := c == '_' || unicode.IsLetter(c) || unicode.IsNumber(c)
		if word && !in {
			n++
		}
		in = word
	}
	return n, nil
}

// filterWordwrap wraps each line of the text by textwrap's rules for words
// separated by blanks; it does not break at hyphens, which it refuses to be
// asked for where it would matter.
func filterWordwrap(r *run, v Value, p []Value) (Value, error) {
	s, err := wantStr("wordwrap", v)
	if err != nil {
		return nil, err
	}
	width, err := wantInt("width", given(p[0], int64(79)))
	if err != nil {
		return nil, err
	}
	if width <= 0 {
		return nil, fmt.Errorf("invalid width %d (must be > 0)", width)
	}
	if truth(given(p[3], true)) && strings.Contains(s.text, "-") {
		return nil, errors.New("wordwrap: breaking on hyphens is not implemented")
	}
	sep := Text("\n")
	if w := given(p[2], nil); w != nil {
		if sep, err = wantStr("wrapstring", w); err != nil {
			return nil, err
		}
	}
	long := truth(given(p[1], true))
	lines, err := splitlines(r, s, []Value{false})
	if err != nil {
		return nil, err
	}
	out := NewList()
	for _, l := range lines.(*List).items {
		wrapped := wrap(l.(Str), int(min(width, MaxOutput)), long)
		if err := r.step(len(wrapped)); err != nil {
			return nil, err
		}
		var row []Value
		for _, w := range wrapped {
			row = append(row, w)
		}
		joined, err := r.strJoin(sep, &List{row})
		if err != nil {
			return nil, err
		}
		out.items = append(out.items, joined)
	}
	return r.strJoin(sep, out)
}

// wrap cuts one line into lines of at most width characters.
func wrap(s Str, width int, breakLong bool) []Str {
	blank := func(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
	var chunks []Str // words and the blanks between them, alternating
	for at := 0; at < len(s.text); {
		end := at + 1
		for end < len(s.text) && blank(s.text[end]) == blank(s.text[at]) {
			end++
		}
		chunks = append(chunks, s.sub(at, end))
		at = end
	}
	space := func(c Str) bool { return blank(c.text[0]) }
	var lines []Str
	for len(chunks) > 0 {
		if space(chunks[0]) && len(lines) > 0 {
			chunks = chunks[1:]
			continue
		}
		var line []Str
		n := 0
		for len(chunks) > 0 && n+chunks[0].runes() <= width {
			n += chunks[0].runes()
			line = append(line, chunks[0])
			chunks = chunks[1:]
		}
		if len(chunks) > 0 && chunks[0].runes() > width {
			if c := chunks[0]; breakLong {
				cut := c.offset(width - n)
				line = append(line, c.sub(0, cut))
				chunks[0] = c.sub(cut, len(c.text))
			} else if len(line) == 0 {
				line = append(line, c)
				chunks = chunks[1:]
			}
		}
		for len(line) > 0 && (line[len(line)-1].text == "" || space(line[len(line)-1])) {
			line = line[:len(line)-1]
		}
		if len(line) > 0 {
			lines = append(lines, concat(line...))
		}
	}
	return lines
}

func filterStriptags(r *run, v Value, p []Value) (Value, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	text := s.text
	cutAll := func(open, end string) {
		var b strings.Builder
		for {
			i := strings.Index(text, open)
			if i < 0 {
				break
			}
			j := strings.Index(text[i+len(open):], end)
			if j < 0 {
				break
			}
			b.WriteString(text[:i])
			text = text[i+len(open)+j+len(end):]
		}
		text = b.String() + text
	}
	cutAll("<!--", "-->")
	cutAll("<", ">")
	text = html.UnescapeString(strings.Join(strings.FieldsFunc(text, isSpace), " "))
	return s.like(text), r.textCost(len(text))
}

func filterURLEncode(r *run, v Value, p []Value) (Value, error) {
	quote := func(v Value, query bool) (Str, error) {
		s, err := r.str(v)
		if err != nil {
			return Str{}, err
		}
		var b buf
		at := s.dataAt()
		for i := range len(s.text) {
			c := s.text[i]
			switch {
			case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || strings.IndexByte("_.-~", c) >= 0,
				c == '/' && !query:
				b.mark(string(rune(c)), at(i))
			case c == ' ' && query:
				b.mark("+", at(i))
			default:
				b.mark(fmt.Sprintf("%%%02X", c), at(i))
			}
		}
		return b.str(), r.textCost(b.len())
	}
	var pairs []Value
	switch x := v.(type) {
	case Str, nil, bool, int64, float64:
		return quote(v, false)
	case *Dict:
		v = &view{x, 'i'}
	}
	pairs, err := r.list(v)
	if err != nil {
		return quote(v, false)
	}
	out := NewList()
	for _, p := range pairs {
		kv, err := r.unpack(p, 2)
		if err != nil {
			return nil, err
		}
		k, err := quote(kv[0], true)
		if err != nil {
			return nil, err
		}
		x, err := quote(kv[1], true)
		if err != nil {
			return nil, err
		}
		out.items = append(out.items, concat(k, Text("="), x))
	}
	return r.strJoin(Text("&"), out)
}

func filterXMLAttr(r *run, v Value, p []Value) (Value, error) {
	d, ok := v.(*Dict)
	if !ok {
		return nil, errors.New("xmlattr needs a mapping")
	}
	out := NewList()
	for i, k := range d.keys {
		x := d.vals[i]
		if _, undef := x.(*Undefined); undef || x == nil {
			continue
		}
		key, err := wantStr("xmlattr", k)
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(key.text, " \t\n\r\f\v/>=") {
			return nil, fmt.Errorf("invalid character in attribute name: %s", shown(key))
		}
		val, err := r.softStr(x)
		if err != nil {
			return nil, err
		}
		out.items = append(out.items, concat(escape(key), Text(`="`), escape(val), Text(`"`)))
	}
	s, err := r.strJoin(Text(" "), out)
	if err == nil && s.text != "" && truth(given(p[0], true)) {
		s = concat(Text(" "), s)
	}
	return s, err
}
