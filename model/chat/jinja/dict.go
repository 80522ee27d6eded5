package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Dict is a Python dict: it keeps the order of insertion.
type Dict struct {
	index map[string]int
	keys  []Value
	vals  []Value
}

// NewDict returns an empty dict.
func NewDict() *Dict { return &Dict{} }

// Len returns the number of entries; of a nil Dict, 0.
func (d *Dict) Len() int {
	if d == nil {
		return 0
	}
	return len(d.keys)
}

// Set stores v under the string key k, at the end if k is new.
func (d *Dict) Set(k Str, v Value) { d.put("s"+k.text, k, v) }

// Get returns the value under the string k.
func (d *Dict) Get(k string) (Value, bool) {
	if d == nil {
		return nil, false
	}
	i, ok := d.index["s"+k]
	if !ok {
		return nil, false
	}
	return d.vals[i], true
}

func (d *Dict) put(hash string, k, v Value) {
	if i, ok := d.index[hash]; ok {
		d.vals[i] = v
		return
	}
	if d.index == nil {
		d.index = map[string]int{}
	}
	d.index[hash] = len(d.keys)
	d.keys = append(d.keys, k)
	d.vals = append(d.vals, v)
}

func (d *Dict) set(r *run, k, v Value) error {
	h, err := r.hash(k)
	if err != nil {
		return err
	}
	if err := r.step(piece); err != nil {
		return err
	}
	d.put(h, k, v)
	return nil
}

func (d *Dict) get(r *run, k Value) (Value, bool, error) {
	h, err := r.hash(k)
	if err != nil {
		return nil, false, err
	}
	i, ok := d.index[h]
	if !ok {
		return nil, false, nil
	}
	return d.vals[i], true, nil
}

// copy returns a dict with the same entries.
func (d *Dict) copy() *Dict {
	out := NewDict()
	if d == nil {
		return out
	}
	for i, k := range d.keys {
		if s, ok := k.(Str); ok {
			out.Set(s, d.vals[i])
			continue
		}
		for h, j := range d.index {
			if j == i {
				out.put(h, k, d.vals[i])
				break
			}
		}
	}
	return out
}

// hash returns a string that is equal for equal keys: 1, 1.0 and True are one
// key.
func (r *run) hash(v Value) (string, error) {
	switch v := v.(type) {
	case nil:
		return "n", nil
	case bool:
		if v {
			return "i1", nil
		}
		return "i0", nil
	case int64:
		return "i" + strconv.FormatInt(v, 10), nil
	case *big.Int:
		return "i" + v.String(), nil
	case float64:
		if v == math.Trunc(v) && !math.IsInf(v, 0) {
			b, _ := new(big.Float).SetFloat64(v).Int(nil)
			return "i" + b.String(), nil
		}
		return "f" + strconv.FormatFloat(v, 'g', -1, 64), nil
	case Str:
		if err := r.textCost(len(v.text)); err != nil {
			return "", err
		}
		return "s" + v.text, nil
	case *Tuple:
		defer r.deeper()()
		if r.depth > MaxDepth {
			return "", limitErr("depth of a value", MaxDepth)
		}
		var b strings.Builder
		b.WriteString("t")
		for _, it := range v.items {
			if err := r.step(1); err != nil {
				return "", err
			}
			h, err := r.hash(it)
			if err != nil {
				return "", err
			}
			b.WriteString(strconv.Itoa(len(h)))
			b.WriteByte(':')
			b.WriteString(h)
			if b.Len() > MaxOutput {
				return "", limitErr("bytes of a key", MaxOutput)
			}
		}
		return b.String(), nil
	case *Undefined:
		return "u", nil
	case *List, *Dict:
		return "", fmt.Errorf("unhashable type: '%s'", typeName(v))
	case *view:
		return "", fmt.Errorf("unhashable type: '%s'", typeName(v))
	}
	return fmt.Sprintf("p%p", v), nil
}

// view is what keys(), values() and items() return: it looks at the dict.
type view struct {
	d    *Dict
	what byte // k, v or i
}

func (v *view) typeName() string {
	switch v.what {
	case 'k':
		return "dict_keys"
	case 'v':
		return "dict_values"
	}
	return "dict_items"
}

func (v *view) at(i int) Value {
	switch v.what {
	case 'k':
		return v.d.keys[i]
	case 'v':
		return v.d.vals[i]
	}
	return &Tuple{items: []Value{v.d.keys[i], v.d.vals[i]}}
}
