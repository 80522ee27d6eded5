package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"unicode"
)

// str is str(v): what {{ v }} prints.
func (r *run) str(v Value) (Str, error) {
	switch v := v.(type) {
	case Str:
		return Str{text: v.text, data: v.data}, nil
	case *Undefined:
		return Str{}, nil
	}
	return r.repr(v)
}

// repr is repr(v): strings in quotes, containers in brackets.
func (r *run) repr(v Value) (Str, error) {
	if s, ok := scalar(v); ok {
		return Text(s), nil
	}
	var b buf
	if err := r.writeRepr(&b, v); err != nil {
		return Str{}, err
	}
	return b.str(), nil
}

func scalar(v Value) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "None", true
	case bool:
		if v {
			return "True", true
		}
		return "False", true
	case int64:
		return strconv.FormatInt(v, 10), true
	case *big.Int:
		return v.String(), true
	case float64:
		return formatFloat(v), true
	}
	return "", false
}

// deeper counts one level of nesting while a value is walked:
// defer r.deeper()().
func (r *run) deeper() func() {
	r.depth++
	return func() { r.depth-- }
}

func (r *run) writeRepr(b *buf, v Value) error {
	if err := r.step(1); err != nil {
		return err
	}
	if b.len() > MaxOutput {
		return limitErr("bytes of a text", MaxOutput)
	}
	if s, ok := scalar(v); ok {
		b.lit(s)
		return nil
	}
	defer r.deeper()()
	if r.depth > MaxDepth {
		return limitErr("depth of a value", MaxDepth)
	}
	seq := func(open string, items []Value, end string) error {
		b.lit(open)
		for i, it := range items {
			if i > 0 {
				b.lit(", ")
			}
			if err := r.writeRepr(b, it); err != nil {
				return err
			}
		}
		b.lit(end)
		return nil
	}
	switch v := v.(type) {
	case Str:
		if v.safe {
			b.lit("Markup(")
			defer b.lit(")")
		}
		return r.quote(b, v)
	case *List:
		return seq("[", v.items, "]")
	case *Tuple:
		if len(v.items) == 1 {
			return seq("(", v.items, ",)")
		}
		return seq("(", v.items, ")")
	case *Dict:
		b.lit("{")
		for i, k := range v.keys {
			if i > 0 {
				b.lit(", ")
			}
			if err := r.writeRepr(b, k); err != nil {
				return err
			}
			b.lit(": ")
			if err := r.writeRepr(b, v.vals[i]); err != nil {
				return err
			}
		}
		b.lit("}")
	case *view:
		b.lit(v.typeName() + "([")
		for i := range v.d.keys {
			if i > 0 {
				b.lit(", ")
			}
			if err := r.writeRepr(b, v.at(i)); err != nil {
				return err
			}
		}
		b.lit("])")
	case *Range:
		if v.step != 1 {
			b.lit(fmt.Sprintf("range(%d, %d, %d)", v.start, v.stop, v.step))
		} else {
			b.lit(fmt.Sprintf("range(%d, %d)", v.start, v.stop))
		}
	case *Undefined:
		b.lit("Undefined")
	case *Namespace:
		b.lit("<Namespace ")
		if err := r.writeRepr(b, v.attrs); err != nil {
			return err
		}
		b.lit(">")
	case *macro:
		if v.name == "" {
			b.lit("<Macro anonymous>")
			return nil
		}
		b.lit("<Macro ")
		if err := r.quote(b, Text(v.name)); err != nil {
			return err
		}
		b.lit(">")
	case *loop:
		n, err := v.len(r)
		if err != nil {
			return err
		}
		b.lit(fmt.Sprintf("<LoopContext %d/%d>", v.index0+1, n))
	default:
		// Python prints an address here.
		b.lit("<" + typeName(v) + " object>")
	}
	return nil
}

// quote writes s as a Python string literal.
func (r *run) quote(b *buf, s Str) error {
	if err := r.runeCost(len(s.text)); err != nil {
		return err
	}
	single, double := false, false
	for _, c := range s.text {
		single = single || c == '\''
		double = double || c == '"'
	}
	q := "'"
	if single && !double {
		q = `"`
	}
	b.lit(q)
	b.add(s.mapRunes(func(_ int, c rune) string {
		switch {
		case c == '\\':
			return `\\`
		case c == '\n':
			return `\n`
		case c == '\r':
			return `\r`
		case c == '\t':
			return `\t`
		case string(c) == q:
			return `\` + q
		case c < 0x20 || c == 0x7f || c < 0x100 && !unicode.IsPrint(c):
			return fmt.Sprintf(`\x%02x`, c)
		case c < 0x7f || unicode.IsPrint(c):
			return string(c)
		case c < 0x10000:
			return fmt.Sprintf(`\u%04x`, c)
		}
		return fmt.Sprintf(`\U%08x`, c)
	}))
	b.lit(q)
	return nil
}
