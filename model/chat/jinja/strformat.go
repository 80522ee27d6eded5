package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// formatter is one evaluation of str.format.
type formatter struct {
	r    *run
	args args
	auto int // next automatic index; -1: explicit ones were used
}

// strFormat is s.format(...): replacement fields {name!r:spec} of the
// arguments, {{ and }} for braces.
func (r *run) strFormat(s Str, a args) (Value, error) {
	f := &formatter{r: r, args: a}
	out, err := f.expand(s, 3) // fields may stand in specifications, twice nested
	if err != nil {
		return nil, err
	}
	out.safe = s.safe
	return out, r.textCost(len(out.text))
}

func (f *formatter) expand(s Str, depth int) (Str, error) {
	if depth == 0 {
		return Str{}, errors.New("max string recursion exceeded")
	}
	var b buf
	text := s.text
	for at := 0; at < len(text); {
		i := strings.IndexAny(text[at:], "{}")
		if i < 0 {
			b.add(s.sub(at, len(text)))
			break
		}
		b.add(s.sub(at, at+i))
		at += i
		c := text[at]
		if at+1 < len(text) && text[at+1] == c {
			b.add(s.sub(at, at+1))
			at += 2
			continue
		}
		if c == '}' {
			return Str{}, errors.New("single '}' encountered in format string")
		}
		end, level := at+1, 1
		for ; end < len(text); end++ {
			if text[end] == '{' {
				level++
			} else if text[end] == '}' {
				if level--; level == 0 {
					break
				}
			}
		}
		if level > 0 {
			return Str{}, errors.New("expected '}' before end of string")
		}
		out, err := f.field(s.sub(at+1, end), depth)
		if err != nil {
			return Str{}, err
		}
		if s.safe {
			out = escape(out)
		}
		b.add(out)
		if b.len() > MaxOutput {
			return Str{}, limitErr("bytes of a text", MaxOutput)
		}
		at = end + 1
	}
	return b.str(), nil
}

// field formats one replacement field, without its braces.
func (f *formatter) field(s Str, depth int) (Str, error) {
	name, conv, format := s.text, byte(0), Str{}
	cut := len(name)
	for i := 0; i < len(name); i++ {
		if name[i] == '[' {
			if j := strings.IndexByte(name[i:], ']'); j > 0 {
				i += j
			}
			continue
		}
		if name[i] == ':' || name[i] == '!' {
			cut = i
			break
		}
	}
	if rest := name[cut:]; rest != "" {
		at := cut
		if rest[0] == '!' {
			if len(rest) < 2 || len(rest) > 2 && rest[2] != ':' {
				return Str{}, errors.New("expected ':' after conversion specifier")
			}
			conv = rest[1]
			at += 2
		}
		if at < len(name) {
			format = s.sub(at+1, len(name))
		}
	}
	v, err := f.lookup(name[:cut])
	if err != nil {
		return Str{}, err
	}
	switch conv {
	case 0:
	case 's':
		v, err = f.r.str(v)
	case 'r':
		v, err = f.r.repr(v)
	case 'a':
		var t Str
		t, err = f.r.repr(v)
		v = asciiOnly(t)
	default:
		err = errors.New("unknown conversion specifier")
	}
	if err != nil {
		return Str{}, err
	}
	if format, err = f.expand(format, depth-1); err != nil {
		return Str{}, err
	}
	if format.HasData() {
		if t, ok := v.(Str); ok {
			v = t.like(t.text)
		}
	}
	return f.r.format(v, format.text)
}

// lookup resolves a field name: an index or keyword, then .attr and [item].
func (f *formatter) lookup(name string) (Value, error) {
	first, rest := name, ""
	if i := strings.IndexAny(name, ".["); i >= 0 {
		first, rest = name[:i], name[i:]
	}
	var v Value
	if name == "" {
		if f.auto < 0 {
			return nil, errors.New("cannot switch from manual field specification to automatic field numbering")
		}
		first = strconv.Itoa(f.auto)
		f.auto++
	} else if first != "" && isDigit(first[0]) {
		if f.auto > 0 {
			return nil, errors.New("cannot switch from automatic field numbering to manual field specification")
		}
		f.auto = -1
	}
	if i, err := strconv.Atoi(first); err == nil && i >= 0 {
		if i >= len(f.args.pos) {
			return nil, fmt.Errorf("replacement index %d out of range for positional args tuple", i)
		}
		v = f.args.pos[i]
	} else {
		var ok bool
		if v, ok = f.args.named.Get(first); !ok {
			return nil, errors.New("format: no argument of that name")
		}
	}
	for rest != "" {
		var err error
		if rest[0] == '.' {
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			if end == 1 {
				return nil, errors.New("empty attribute in format string")
			}
			v, err = f.r.getattr(v, Text(rest[1:end]))
			rest = rest[end:]
		} else {
			end := strings.IndexByte(rest, ']')
			if rest[0] != '[' || end <= 1 {
				return nil, errors.New("malformed field in format string")
			}
			var key Value = Text(rest[1:end])
			if i, err := strconv.ParseInt(rest[1:end], 10, 64); err == nil && isDigit(rest[1]) {
				key = i
			}
			v, err = f.r.getitem(v, key)
			rest = rest[end+1:]
		}
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}
