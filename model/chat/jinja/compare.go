package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

// equal is a == b.
func (r *run) equal(a, b Value) (bool, error) {
	if err := r.step(1); err != nil {
		return false, err
	}
	if isNumber(a) && isNumber(b) {
		c, ok := compareNumbers(a, b)
		return ok && c == 0, nil
	}
	defer r.deeper()()
	if r.depth > MaxDepth {
		return false, limitErr("depth of a value", MaxDepth)
	}
	switch a := a.(type) {
	case nil:
		return b == nil, nil
	case Str:
		b, ok := b.(Str)
		if ok && len(a.text) == len(b.text) {
			return a.text == b.text, r.textCost(len(a.text))
		}
		return false, nil
	case *List:
		b, ok := b.(*List)
		if !ok {
			return false, nil
		}
		return r.equalItems(a.items, b.items)
	case *Tuple:
		b, ok := b.(*Tuple)
		if !ok {
			return false, nil
		}
		return r.equalItems(a.items, b.items)
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || a.Len() != b.Len() {
			return false, nil
		}
		for i, k := range a.keys {
			v, ok, err := b.get(r, k)
			if err != nil || !ok {
				return false, err
			}
			if eq, err := r.equal(a.vals[i], v); err != nil || !eq {
				return false, err
			}
		}
		return true, nil
	case *Range:
		b, ok := b.(*Range)
		return ok && a.n == b.n && (a.n == 0 || a.start == b.start && (a.n == 1 || a.step == b.step)), nil
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok, nil
	case *view:
		b, ok := b.(*view)
		if !ok || a.what != b.what || a.what == 'v' {
			return ok && a == b, nil
		}
		if a.what == 'i' {
			return r.equal(a.d, b.d)
		}
		if a.d.Len() != b.d.Len() {
			return false, nil
		}
		for _, k := range a.d.keys {
			if _, ok, err := b.d.get(r, k); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	}
	return same(a, b), nil
}

// same is `a is b` for what is compared by identity.
func same(a, b Value) bool {
	switch a.(type) {
	case nil, bool, int64, float64, *List, *Tuple, *Dict, *Range, *Namespace, *Undefined,
		*function, *macro, *loop, *iter, *view, *cycler, *joiner, *big.Int:
		return a == b
	}
	return false
}

func (r *run) equalItems(a, b []Value) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	for i := range a {
		if eq, err := r.equal(a[i], b[i]); err != nil || !eq {
			return false, err
		}
	}
	return true, nil
}

// compareNumbers orders two numbers; not ok when one is NaN.
func compareNumbers(a, b Value) (int, bool) {
	x, xf := a.(float64)
	y, yf := b.(float64)
	if xf && math.IsNaN(x) || yf && math.IsNaN(y) {
		return 0, false
	}
	if i, ok := asInt(a); ok {
		if j, ok := asInt(b); ok {
			switch {
			case i < j:
				return -1, true
			case i > j:
				return 1, true
			}
			return 0, true
		}
	}
	exact := func(v Value, f float64, isFloat bool) *big.Float {
		if isFloat {
			return new(big.Float).SetFloat64(f)
		}
		i, _ := toBig(v)
		return new(big.Float).SetInt(i)
	}
	return exact(a, x, xf).Cmp(exact(b, y, yf)), true
}

// less is a < b, asked for the sake of op.
func (r *run) less(op string, a, b Value) (bool, error) {
	if err := r.step(1); err != nil {
		return false, err
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*Undefined); ok {
			return false, u.err()
		}
	}
	defer r.deeper()()
	if r.depth > MaxDepth {
		return false, limitErr("depth of a value", MaxDepth)
	}
	if isNumber(a) && isNumber(b) {
		c, ok := compareNumbers(a, b)
		return ok && c < 0, nil
	}
	switch x := a.(type) {
	case Str:
		if y, ok := b.(Str); ok {
			return x.text < y.text, r.textCost(min(len(x.text), len(y.text)))
		}
	case *List:
		if y, ok := b.(*List); ok {
			return r.lessItems(op, x.items, y.items)
		}
	case *Tuple:
		if y, ok := b.(*Tuple); ok {
			return r.lessItems(op, x.items, y.items)
		}
	}
	if op[0] == '>' { // the operands came swapped
		a, b = b, a
	}
	return false, fmt.Errorf("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
}

func (r *run) lessItems(op string, a, b []Value) (bool, error) {
	for i := 0; i < len(a) && i < len(b); i++ {
		eq, err := r.equal(a[i], b[i])
		if err != nil {
			return false, err
		}
		if !eq {
			return r.less(op, a[i], b[i])
		}
	}
	return len(a) < len(b), nil
}

// compare is a op b for the comparison operators.
func (r *run) compare(op string, a, b Value) (bool, error) {
	switch op {
	case "==", "!=":
		eq, err := r.equal(a, b)
		return eq == (op == "=="), err
	case "in", "not in":
		in, err := r.contains(b, a)
		return in == (op == "in"), err
	case "<":
		return r.less(op, a, b)
	case ">":
		return r.less(op, b, a)
	}
	// <= and >=: less or equal, so that NaN compares false
	if op == ">=" {
		a, b = b, a
	}
	lt, err := r.less(op, a, b)
	if err != nil || lt {
		return lt, err
	}
	return r.equal(a, b)
}

// contains is x in c.
func (r *run) contains(c, x Value) (bool, error) {
	switch c := c.(type) {
	case Str:
		s, ok := x.(Str)
		if !ok {
			return false, fmt.Errorf("'in <string>' requires string as left operand, not %s", typeName(x))
		}
		return strings.Contains(c.text, s.text), r.textCost(len(c.text))
	case *Dict:
		_, ok, err := c.get(r, x)
		return ok, err
	case *view:
		if c.what == 'k' {
			_, ok, err := c.d.get(r, x)
			return ok, err
		}
	case *Range:
		if i, ok := asInt(x); ok {
			k := i - c.start
			return c.n > 0 && k%c.step == 0 && k/c.step >= 0 && k/c.step < c.n, nil
		}
	}
	it, err := r.iterate(c)
	if err != nil {
		return false, fmt.Errorf("argument of type '%s' is not iterable", typeName(c))
	}
	for {
		v, ok, err := it.next()
		if err != nil || !ok {
			return false, err
		}
		if eq, err := r.equal(v, x); err != nil || eq {
			return eq, err
		}
	}
}
