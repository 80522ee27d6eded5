package jinja

import (
	"fmt"
	"math/big"
	"strings"
)

// Value is what an expression evaluates to:
//
//	nil                          None
//	bool, int64, *big.Int, float64
//	Str                          str (and Markup)
//	*List, *Tuple, *Dict, *Range
//	*Namespace, *Undefined
//	*function, *macro, *loop     callables
//	*iter                        generators and iterators, consumed once
//	*view                        dict.keys(), values(), items()
//
// Integers that fit are int64, never *big.Int. Values are immutable to
// templates except a Namespace.
type Value any

// List is a Python list.
type List struct{ items []Value }

// NewList returns a list of items, which it takes over.
func NewList(items ...Value) *List { return &List{items} }

// Tuple is a Python tuple.
type Tuple struct {
	items  []Value
	fields []string // names of the items, of a named tuple
}

// Range is the result of range().
type Range struct{ start, stop, step, n int64 }

func (r *Range) at(i int64) Value { return r.start + i*r.step }

// Namespace is the mutable object that namespace() makes.
type Namespace struct{ attrs *Dict }

// Undefined is the result of looking up what is not there. It prints as
// nothing, is false and empty; any other use fails with its message.
type Undefined struct {
	hint string // the whole message, or ""
	obj  Value  // on which name was looked up; missing for a variable
	name Value
}

type missingValue struct{}

// missing marks a slot or argument that holds nothing.
var missing = missingValue{}

func undefinedName(name string) *Undefined { return &Undefined{obj: missing, name: Text(name)} }

func (u *Undefined) err() error {
	if u.hint != "" {
		return fmt.Errorf("%s", u.hint)
	}
	n, isStr := u.name.(Str)
	switch {
	case u.obj == missing:
		return fmt.Errorf("%s is undefined", shown(n))
	case !isStr:
		return fmt.Errorf("%s object has no element %s", typeName(u.obj), shown(u.name))
	}
	return fmt.Errorf("'%s object' has no attribute %s", typeName(u.obj), shown(n))
}

// shown is a name for a message: quoted and cut. Data shows as "…", since
// messages end in logs and what users write must not.
func shown(v Value) string {
	s, ok := v.(Str)
	if !ok {
		if t, ok := scalar(v); ok {
			return t
		}
		return "<" + typeName(v) + ">"
	}
	var b strings.Builder
	s.sub(0, s.offset(min(s.runes(), 80))).Segments(func(text string, data bool) {
		if data {
			text = "…"
		}
		b.WriteString(text)
	})
	return "'" + b.String() + "'"
}

// function is a callable of the interpreter: a global or a bound method.
type function struct {
	name string
	call func(r *run, a args) (Value, error)
}

// args are the evaluated arguments of a call.
type args struct {
	pos   []Value
	named *Dict // nil when there are none; string keys
}

func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case Str:
		if v.safe {
			return "Markup"
		}
		return "str"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *Range:
		return "range"
	case *Namespace:
		return "Namespace"
	case *Undefined:
		return "Undefined"
	case *function:
		return "builtin_function_or_method"
	case *macro:
		return "Macro"
	case *loop:
		return "LoopContext"
	case *iter:
		return v.typ
	case *view:
		return v.typeName()
	case *cycler:
		return "Cycler"
	case *joiner:
		return "Joiner"
	}
	return "object"
}

// truth is bool(v).
func truth(v Value) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case *big.Int:
		return v.Sign() != 0
	case float64:
		return v != 0
	case Str:
		return v.text != ""
	case *List:
		return len(v.items) > 0
	case *Tuple:
		return len(v.items) > 0
	case *Dict:
		return v.Len() > 0
	case *Range:
		return v.n > 0
	case *view:
		return v.d.Len() > 0
	case *Undefined:
		return false
	}
	return true
}

func isInt(v Value) bool {
	switch v.(type) {
	case int64, *big.Int:
		return true
	}
	return false
}

// asInt is the integer that v is where Python wants an index: an int or bool
// that fits.
func asInt(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func wantInt(what string, v Value) (int64, error) {
	if i, ok := asInt(v); ok {
		return i, nil
	}
	if _, ok := v.(*big.Int); ok {
		return 0, fmt.Errorf("%s: integer too large", what)
	}
	if u, ok := v.(*Undefined); ok {
		return 0, u.err()
	}
	return 0, fmt.Errorf("%s: '%s' object cannot be interpreted as an integer", what, typeName(v))
}
