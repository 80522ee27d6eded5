package jinja

import (
	"errors"
	"fmt"
)

// eval evaluates x; errors carry the line of the innermost node.
func (r *run) eval(x expr, f *frame) (Value, error) {
	v, err := r.evalNode(x, f)
	if err != nil {
		return nil, atLine(x.at(), err)
	}
	return v, nil
}

func (r *run) evalNode(x expr, f *frame) (Value, error) {
	if err := r.step(1); err != nil {
		return nil, err
	}
	switch x := x.(type) {
	case *constExpr:
		return x.val, nil
	case *nameExpr:
		if v := *f.at(x.ref); v != missing {
			return v, nil
		}
		return undefinedName(x.name), nil
	case *tupleExpr, *listExpr, *dictExpr:
		if err := r.step(piece); err != nil {
			return nil, err
		}
		return r.evalContainer(x, f)
	case *condExpr:
		v, err := r.eval(x.test, f)
		if err != nil {
			return nil, err
		}
		switch {
		case truth(v):
			return r.eval(x.yes, f)
		case x.no != nil:
			return r.eval(x.no, f)
		}
		return &Undefined{hint: fmt.Sprintf("the inline if-expression on line %d evaluated to false and no else section was defined.", x.at())}, nil
	case *logicExpr:
		v, err := r.eval(x.left, f)
		if err != nil || truth(v) != x.and {
			return v, err
		}
		return r.eval(x.right, f)
	case *notExpr:
		v, err := r.eval(x.x, f)
		return !truth(v), err
	case *compareExpr:
		a, err := r.eval(x.first, f)
		if err != nil {
			return nil, err
		}
		for i, op := range x.ops {
			b, err := r.eval(x.rest[i], f)
			if err != nil {
				return nil, err
			}
			ok, err := r.compare(op, a, b)
			if err != nil || !ok {
				return false, err
			}
			a = b
		}
		return true, nil
	case *unaryExpr:
		v, err := r.eval(x.x, f)
		if err != nil {
			return nil, err
		}
		return r.unary(x.op, v)
	case *binExpr:
		a, err := r.eval(x.left, f)
		if err != nil {
			return nil, err
		}
		b, err := r.eval(x.right, f)
		if err != nil {
			return nil, err
		}
		return r.binary(x.op, a, b)
	case *concatExpr:
		parts := make([]Str, len(x.items))
		n := 0
		for i, it := range x.items {
			v, err := r.eval(it, f)
			if err != nil {
				return nil, err
			}
			if parts[i], err = r.str(v); err != nil {
				return nil, err
			}
			n += len(parts[i].text)
		}
		if err := r.textCost(n); err != nil {
			return nil, err
		}
		return concat(parts...), nil
	case *attrExpr:
		v, err := r.eval(x.x, f)
		if err != nil {
			return nil, err
		}
		return r.getattr(v, Text(x.name))
	case *itemExpr:
		v, err := r.eval(x.x, f)
		if err != nil {
			return nil, err
		}
		if s, ok := x.key.(*sliceExpr); ok {
			return r.slice(v, s, f)
		}
		k, err := r.eval(x.key, f)
		if err != nil {
			return nil, err
		}
		return r.getitem(v, k)
	case *callExpr:
		return r.callWith(x, f, nil)
	case *filterExpr:
		v, err := r.eval(x.x, f)
		if err != nil {
			return nil, err
		}
		return r.applyFilter(x, v, f)
	case *testExpr:
		v, err := r.eval(x.x, f)
		if err != nil {
			return nil, err
		}
		a, err := r.args(&x.args, f)
		if err != nil {
			return nil, err
		}
		return r.test(Text(x.name), v, a)
	}
	return nil, fmt.Errorf("unknown expression %T", x)
}

func (r *run) evalContainer(x expr, f *frame) (Value, error) {
	switch x := x.(type) {
	case *tupleExpr:
		items, err := r.evalAll(x.items, f)
		return &Tuple{items: items}, err
	case *listExpr:
		items, err := r.evalAll(x.items, f)
		return &List{items}, err
	case *dictExpr:
		d := NewDict()
		for i := range x.keys {
			k, err := r.eval(x.keys[i], f)
			if err != nil {
				return nil, err
			}
			v, err := r.eval(x.vals[i], f)
			if err != nil {
				return nil, err
			}
			if err := d.set(r, k, v); err != nil {
				return nil, err
			}
		}
		return d, nil
	}
	return nil, fmt.Errorf("unknown expression %T", x)
}

func (r *run) evalAll(list []expr, f *frame) ([]Value, error) {
	out := make([]Value, len(list))
	for i, x := range list {
		v, err := r.eval(x, f)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// filterChain applies the filters of a block to its text: the innermost
// filterExpr has no operand.
func (r *run) filterChain(x expr, text Str, f *frame) (Value, error) {
	fx := x.(*filterExpr)
	var v Value = text
	if fx.x != nil {
		var err error
		if v, err = r.filterChain(fx.x, text, f); err != nil {
			return nil, err
		}
	}
	v, err := r.applyFilter(fx, v, f)
	return v, atLine(fx.at(), err)
}

func (r *run) applyFilter(x *filterExpr, v Value, f *frame) (Value, error) {
	a, err := r.args(&x.args, f)
	if err != nil {
		return nil, err
	}
	return r.filter(Text(x.name), v, a)
}

func (r *run) unary(op byte, v Value) (Value, error) {
	switch x := v.(type) {
	case *Undefined:
		return nil, x.err()
	case float64:
		if op == '-' {
			return -x, nil
		}
		return x, nil
	case bool, int64:
		if op == '-' {
			return r.arith("-", int64(0), v)
		}
		return r.arith("+", int64(0), v)
	}
	if isInt(v) {
		if op == '-' {
			return r.arith("-", int64(0), v)
		}
		return v, nil
	}
	return nil, fmt.Errorf("bad operand type for unary %c: '%s'", op, typeName(v))
}

// binary is a op b for the arithmetic operators.
func (r *run) binary(op string, a, b Value) (Value, error) {
	if isNumber(a) && isNumber(b) {
		return r.arith(op, a, b)
	}
	if s, ok := a.(Str); ok && op == "%" {
		return r.percent(s, b)
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*Undefined); ok {
			return nil, u.err()
		}
	}
	switch op {
	case "+":
		switch x := a.(type) {
		case Str:
			if y, ok := b.(Str); ok {
				return r.add(x, y)
			}
			return nil, fmt.Errorf(`can only concatenate str (not "%s") to str`, typeName(b))
		case *List:
			if y, ok := b.(*List); ok {
				items, err := r.join(x.items, y.items)
				return &List{items}, err
			}
			return nil, fmt.Errorf(`can only concatenate list (not "%s") to list`, typeName(b))
		case *Tuple:
			if y, ok := b.(*Tuple); ok {
				items, err := r.join(x.items, y.items)
				return &Tuple{items: items}, err
			}
			return nil, fmt.Errorf(`can only concatenate tuple (not "%s") to tuple`, typeName(b))
		}
	case "*":
		if _, ok := asInt(a); ok || isInt(a) {
			a, b = b, a
		}
		if n, ok := asInt(b); ok {
			return r.repeat(a, n)
		}
		if isInt(b) {
			return nil, errors.New("cannot fit 'int' into an index-sized integer")
		}
	}
	return nil, fmt.Errorf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
}

// add joins two strings; escaped text escapes the other.
func (r *run) add(x, y Str) (Value, error) {
	if x.safe != y.safe {
		x, y = escape(x), escape(y)
	}
	if err := r.textCost(len(x.text) + len(y.text)); err != nil {
		return nil, err
	}
	s := concat(x, y)
	s.safe = x.safe && y.safe
	return s, nil
}

func (r *run) join(x, y []Value) ([]Value, error) {
	if err := r.step(1 + len(x) + len(y)); err != nil {
		return nil, err
	}
	return append(append(make([]Value, 0, len(x)+len(y)), x...), y...), nil
}

// repeat is v * n.
func (r *run) repeat(v Value, n int64) (Value, error) {
	n = max(n, 0)
	times := func(size int) error {
		if size == 0 {
			n = 0
		}
		if n > int64(MaxSteps) || n*int64(size) > int64(MaxSteps) {
			return limitErr("repeated size", MaxSteps)
		}
		return nil
	}
	switch v := v.(type) {
	case Str:
		if err := times(len(v.text)); err != nil {
			return nil, err
		}
		if err := r.textCost(len(v.text) * int(n)); err != nil {
			return nil, err
		}
		var b buf
		for range n {
			b.add(v)
		}
		s := b.str()
		s.safe = v.safe
		return s, nil
	case *List, *Tuple:
		items, err := r.list(v)
		if err != nil {
			return nil, err
		}
		if err := times(len(items)); err != nil {
			return nil, err
		}
		if err := r.step(len(items) * int(n)); err != nil {
			return nil, err
		}
		out := make([]Value, 0, len(items)*int(n))
		for range n {
			out = append(out, items...)
		}
		if _, ok := v.(*Tuple); ok {
			return &Tuple{items: out}, nil
		}
		return &List{out}, nil
	}
	return nil, fmt.Errorf("can't multiply sequence by non-int of type '%s'", typeName(v))
}
