package jinja

import (
	"fmt"
	"math"
	"math/big"
	"sort"
	"strings"
	"unicode/utf16"
)

// dumper is json.dumps with the options that tojson takes.
type dumper struct {
	r        *run
	b        buf
	ascii    bool // escape what is not ASCII
	indent   *Str // nil: one line
	item     Str  // between elements
	colon    Str  // between key and value
	sortKeys bool
}

// toJSON is the filter tojson.
func toJSON(r *run, v Value, p []Value) (Value, error) {
	d := &dumper{r: r, item: Text(", "), colon: Text(": ")}
	opt := func(i int) (Value, bool) { return p[i], p[i] != missing && p[i] != nil }
	if x, ok := opt(0); ok {
		d.ascii = truth(x)
	}
	if x, ok := opt(1); ok {
		switch x := x.(type) {
		case Str:
			d.indent = &x
		default:
			n, err := r.widthOf(x)
			if err != nil {
				return nil, err
			}
			s := Text(strings.Repeat(" ", n))
			d.indent = &s
		}
		d.item = Text(",")
	}
	if x, ok := opt(2); ok {
		pair, err := r.unpack(x, 2)
		if err != nil {
			return nil, err
		}
		if d.item, err = wantStr("separators", pair[0]); err != nil {
			return nil, err
		}
		if d.colon, err = wantStr("separators", pair[1]); err != nil {
			return nil, err
		}
	}
	if x, ok := opt(3); ok {
		d.sortKeys = truth(x)
	}
	if err := d.value(v, 0); err != nil {
		return nil, err
	}
	out := d.b.str()
	return out, r.textCost(len(out.text))
}

// widthOf is an indentation in blanks.
func (r *run) widthOf(v Value) (int, error) {
	n, err := wantInt("indent", v)
	if err != nil {
		return 0, err
	}
	if n > maxPad {
		return 0, limitErr("indent", maxPad)
	}
	return int(max(n, 0)), nil
}

// newline starts a line at a level, when indenting.
func (d *dumper) newline(level int) error {
	if d.indent == nil {
		return nil
	}
	d.b.lit("\n")
	for range level {
		d.b.add(*d.indent)
	}
	return d.room(len(d.indent.text) * level)
}

func (d *dumper) room(n int) error {
	if d.b.len() > MaxOutput {
		return limitErr("bytes of a text", MaxOutput)
	}
	return d.r.step(1 + n/16)
}

func (d *dumper) value(v Value, level int) error {
	if err := d.room(0); err != nil {
		return err
	}
	if level > MaxDepth {
		return limitErr("depth of a value", MaxDepth)
	}
	switch v := v.(type) {
	case nil:
		d.b.lit("null")
	case bool:
		d.b.lit(map[bool]string{true: "true", false: "false"}[v])
	case int64, *big.Int:
		s, _ := scalar(v)
		d.b.lit(s)
	case float64:
		d.b.lit(jsonFloat(v))
	case Str:
		return d.str(v)
	case *List:
		return d.items(v.items, level)
	case *Tuple:
		return d.items(v.items, level)
	case *Dict:
		return d.dict(v, level)
	default:
		return fmt.Errorf("object of type %s is not JSON serializable", typeName(v))
	}
	return nil
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return formatFloat(f)
}

func (d *dumper) items(items []Value, level int) error {
	if len(items) == 0 {
		d.b.lit("[]")
		return nil
	}
	d.b.lit("[")
	for i, it := range items {
		if i > 0 {
			d.b.add(d.item)
		}
		if err := d.newline(level + 1); err != nil {
			return err
		}
		if err := d.value(it, level+1); err != nil {
			return err
		}
	}
	err := d.newline(level)
	d.b.lit("]")
	return err
}

func (d *dumper) dict(v *Dict, level int) error {
	if v.Len() == 0 {
		d.b.lit("{}")
		return nil
	}
	order := make([]int, v.Len())
	for i := range order {
		order[i] = i
	}
	if d.sortKeys {
		var failed error
		sort.SliceStable(order, func(i, j int) bool {
			less, err := d.r.less("<", v.keys[order[i]], v.keys[order[j]])
			if err != nil {
				failed = err
			}
			return less
		})
		if failed != nil {
			return failed
		}
	}
	d.b.lit("{")
	for n, i := range order {
		if n > 0 {
			d.b.add(d.item)
		}
		if err := d.newline(level + 1); err != nil {
			return err
		}
		key, err := jsonKey(v.keys[i])
		if err != nil {
			return err
		}
		if err := d.str(key); err != nil {
			return err
		}
		d.b.add(d.colon)
		if err := d.value(v.vals[i], level+1); err != nil {
			return err
		}
	}
	err := d.newline(level)
	d.b.lit("}")
	return err
}

func jsonKey(k Value) (Str, error) {
	switch k := k.(type) {
	case Str:
		return k, nil
	case nil:
		return Text("null"), nil
	case bool:
		return Text(map[bool]string{true: "true", false: "false"}[k]), nil
	case int64, *big.Int:
		s, _ := scalar(k)
		return Text(s), nil
	case float64:
		return Text(jsonFloat(k)), nil
	}
	return Str{}, fmt.Errorf("keys must be str, int, float, bool or None, not %s", typeName(k))
}

func (d *dumper) str(s Str) error {
	if err := d.room(4 * len(s.text)); err != nil {
		return err
	}
	d.b.lit(`"`)
	d.b.add(s.mapRunes(func(_ int, c rune) string {
		switch c {
		case '"':
			return `\"`
		case '\\':
			return `\\`
		case '\n':
			return `\n`
		case '\r':
			return `\r`
		case '\t':
			return `\t`
		case '\f':
			return `\f`
		case '\b':
			return `\b`
		}
		switch {
		case c < 0x20 || d.ascii && c >= 0x7f && c < 0x10000:
			return fmt.Sprintf(`\u%04x`, c)
		case d.ascii && c >= 0x10000:
			hi, lo := utf16.EncodeRune(c)
			return fmt.Sprintf(`\u%04x\u%04x`, hi, lo)
		}
		return string(c)
	}))
	d.b.lit(`"`)
	return nil
}
