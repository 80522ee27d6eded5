package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
)

// mutators are the methods of list and dict that the sandbox denies.
var mutators = map[string][]string{
	"list": {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"},
	"dict": {"clear", "pop", "popitem", "setdefault", "update"},
}

// method returns the bound method v.name.
func method(v Value, name string) (Value, bool) {
	bound := func(f func(r *run, a args) (Value, error)) (Value, bool) {
		return &function{name, f}, true
	}
	if slices.Contains(mutators[typeName(v)], name) {
		return unsafe(v, Text(name)), true
	}
	switch v := v.(type) {
	case Str:
		if m, ok := strMethods[name]; ok {
			return bound(func(r *run, a args) (Value, error) { return r.callStr(v, name, m, a) })
		}
		switch name {
		case "format":
			return bound(func(r *run, a args) (Value, error) { return r.strFormat(v, a) })
		case "format_map":
			return bound(func(r *run, a args) (Value, error) {
				p, err := bindArgs("format_map", "mapping", a)
				if err != nil {
					return nil, err
				}
				d, ok := p[0].(*Dict)
				if !ok {
					return nil, fmt.Errorf("format_map: must be dict, not %s", typeName(p[0]))
				}
				return r.strFormat(v, args{named: d})
			})
		}
	case *List:
		return itemsMethod(v.items, name)
	case *Tuple:
		return itemsMethod(v.items, name)
	case *Range:
		if name == "count" || name == "index" {
			return bound(func(r *run, a args) (Value, error) {
				items, err := r.list(v)
				if err != nil {
					return nil, err
				}
				m, _ := itemsMethod(items, name)
				return m.(*function).call(r, a)
			})
		}
	case *Dict:
		return dictMethod(v, name)
	case *Undefined:
		return nil, false
	case bool, int64, *big.Int:
		switch name {
		case "real", "numerator":
			b, _ := toBig(v)
			return normal(b), true
		case "imag":
			return int64(0), true
		case "denominator":
			return int64(1), true
		case "bit_length":
			return bound(func(r *run, a args) (Value, error) {
				b, _ := toBig(v)
				_, err := bindArgs(name, "", a)
				return int64(b.BitLen()), err
			})
		}
	case float64:
		switch name {
		case "real":
			return v, true
		case "imag":
			return 0.0, true
		case "is_integer":
			return bound(func(r *run, a args) (Value, error) {
				_, err := bindArgs(name, "", a)
				return v == math.Trunc(v) && !math.IsInf(v, 0), err
			})
		}
	case *function:
		if v == globals["dict"] && name == "fromkeys" {
			return bound(fromKeys)
		}
	case *cycler:
		return cyclerMethod(v, name)
	}
	return nil, false
}

// itemsMethod returns index and count of a list or tuple, and copy of a list.
func itemsMethod(items []Value, name string) (Value, bool) {
	switch name {
	case "copy":
		return &function{name, func(r *run, a args) (Value, error) {
			_, err := bindArgs(name, "", a)
			return &List{items}, err
		}}, true
	case "count":
		return &function{name, func(r *run, a args) (Value, error) {
			p, err := bindArgs(name, "value", a)
			if err != nil {
				return nil, err
			}
			n := int64(0)
			for _, it := range items {
				eq, err := r.equal(it, p[0])
				if err != nil {
					return nil, err
				}
				if eq {
					n++
				}
			}
			return n, nil
		}}, true
	case "index":
		return &function{name, func(r *run, a args) (Value, error) {
			p, err := bindArgs(name, "value, start=, stop=", a)
			if err != nil {
				return nil, err
			}
			bounds := [2]int64{0, int64(len(items))}
			for i := range bounds {
				if p[i+1] == missing {
					continue
				}
				n, err := wantInt(name, p[i+1])
				if err != nil {
					return nil, err
				}
				if n < 0 {
					n = max(n+int64(len(items)), 0)
				}
				bounds[i] = min(n, int64(len(items)))
			}
			for i := bounds[0]; i < bounds[1]; i++ {
				eq, err := r.equal(items[i], p[0])
				if err != nil {
					return nil, err
				}
				if eq {
					return i, nil
				}
			}
			return nil, errors.New("value is not in list")
		}}, true
	}
	return nil, false
}

func dictMethod(d *Dict, name string) (Value, bool) {
	switch name {
	case "keys", "values", "items":
		return &function{name, func(r *run, a args) (Value, error) {
			_, err := bindArgs(name, "", a)
			return &view{d, name[0]}, err
		}}, true
	case "copy":
		return &function{name, func(r *run, a args) (Value, error) {
			if _, err := bindArgs(name, "", a); err != nil {
				return nil, err
			}
			return d, nil // nothing can change it
		}}, true
	case "get":
		return &function{name, func(r *run, a args) (Value, error) {
			p, err := bindArgs(name, "key, default=", a)
			if err != nil {
				return nil, err
			}
			v, ok, err := d.get(r, p[0])
			switch {
			case err != nil || ok:
				return v, err
			case p[1] == missing:
				return nil, nil
			}
			return p[1], nil
		}}, true
	case "fromkeys":
		return &function{name, fromKeys}, true
	}
	return nil, false
}

func fromKeys(r *run, a args) (Value, error) {
	p, err := bindArgs("fromkeys", "iterable, value=", a)
	if err != nil {
		return nil, err
	}
	keys, err := r.list(p[0])
	if err != nil {
		return nil, err
	}
	if p[1] == missing {
		p[1] = nil
	}
	d := NewDict()
	for _, k := range keys {
		if err := d.set(r, k, p[1]); err != nil {
			return nil, err
		}
	}
	return d, nil
}
