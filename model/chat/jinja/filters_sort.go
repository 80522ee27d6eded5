package jinja

import (
	"errors"
	"slices"
	"strings"
)

// sorted sorts items stably by key(item), as Python's sorted does.
func (r *run) sorted(items []Value, reverse bool, key func(v Value) (Value, error)) ([]Value, error) {
	type keyed struct{ k, v Value }
	list := make([]keyed, len(items))
	for i, it := range items {
		k, err := key(it)
		if err != nil {
			return nil, err
		}
		list[i] = keyed{k, it}
	}
	var failed error
	compare := func(a, b keyed) int {
		if failed != nil {
			return 0
		}
		lt, err := r.less("<", a.k, b.k)
		if err == nil && lt {
			return -1
		}
		gt, err2 := r.less("<", b.k, a.k)
		if failed = errors.Join(err, err2); failed == nil && gt {
			return 1
		}
		return 0
	}
	if reverse { // equal elements keep their order
		slices.SortStableFunc(list, func(a, b keyed) int { return compare(b, a) })
	} else {
		slices.SortStableFunc(list, compare)
	}
	if failed != nil {
		return nil, failed
	}
	out := make([]Value, len(list))
	for i, k := range list {
		out[i] = k.v
	}
	return out, nil
}

// sortKey reads a comma-separated list of attributes into a list to sort by.
func sortKey(r *run, attribute Value, exact bool) (func(v Value) (Value, error), error) {
	parts := []Value{attribute}
	if s, ok := attribute.(Str); ok {
		parts = nil
		for p := range strings.SplitSeq(s.text, ",") {
			parts = append(parts, Text(p))
		}
	}
	var gets []func(r *run, v Value) (Value, error)
	for _, p := range parts {
		g, err := getter(p, nil)
		if err != nil {
			return nil, err
		}
		gets = append(gets, g)
	}
	return func(v Value) (Value, error) {
		key := NewList()
		for _, g := range gets {
			k, err := g(r, v)
			if err != nil {
				return nil, err
			}
			if !exact {
				k = fold(k)
			}
			key.items = append(key.items, k)
		}
		return key, r.step(len(gets))
	}, nil
}

func filterSort(r *run, v Value, p []Value) (Value, error) {
	items, err := r.list(v)
	if err != nil {
		return nil, err
	}
	key, err := sortKey(r, given(p[2], nil), truth(given(p[1], false)))
	if err != nil {
		return nil, err
	}
	out, err := r.sorted(items, truth(given(p[0], false)), key)
	return &List{out}, err
}

func filterDictsort(r *run, v Value, p []Value) (Value, error) {
	d, ok := v.(*Dict)
	if !ok {
		if u, ok := v.(*Undefined); ok {
			return nil, u.err()
		}
		return nil, errors.New("dictsort needs a mapping")
	}
	at := 0
	by, err := wantStr("by", given(p[1], Text("key")))
	switch {
	case err != nil:
		return nil, err
	case by.text == "value":
		at = 1
	case by.text != "key":
		return nil, errors.New(`you can only sort by either "key" or "value"`)
	}
	items, err := r.list(&view{d, 'i'})
	if err != nil {
		return nil, err
	}
	exact := truth(given(p[0], false))
	out, err := r.sorted(items, truth(given(p[2], false)), func(v Value) (Value, error) {
		k := v.(*Tuple).items[at]
		if !exact {
			k = fold(k)
		}
		return k, nil
	})
	return &List{out}, err
}

// filterExtreme makes min and max: the first of the least or greatest.
func filterExtreme(op string) func(r *run, v Value, p []Value) (Value, error) {
	return func(r *run, v Value, p []Value) (Value, error) {
		items, err := r.list(v)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return &Undefined{hint: "No aggregated item, sequence was empty."}, nil
		}
		get, err := getter(given(p[1], nil), nil)
		if err != nil {
			return nil, err
		}
		var best, bestKey Value
		for i, it := range items {
			k, err := get(r, it)
			if err != nil {
				return nil, err
			}
			if !truth(given(p[0], false)) {
				k = fold(k)
			}
			better := i == 0
			if !better {
				if better, err = r.compare(op, k, bestKey); err != nil {
					return nil, err
				}
			}
			if better {
				best, bestKey = it, k
			}
		}
		return best, nil
	}
}

func filterGroupby(r *run, v Value, p []Value) (Value, error) {
	items, err := r.list(v)
	if err != nil {
		return nil, err
	}
	get, err := getter(p[0], given(p[1], nil))
	if err != nil {
		return nil, err
	}
	exact := truth(given(p[2], false))
	key := func(v Value) (Value, error) {
		k, err := get(r, v)
		if !exact {
			k = fold(k)
		}
		return k, err
	}
	if items, err = r.sorted(items, false, key); err != nil {
		return nil, err
	}
	out := NewList()
	var last Value
	for i, it := range items {
		k, err := key(it)
		if err != nil {
			return nil, err
		}
		same := false
		if i > 0 {
			if same, err = r.equal(k, last); err != nil {
				return nil, err
			}
		}
		if !same {
			last = k
			shown, err := get(r, it)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, &Tuple{items: []Value{shown, NewList()}, fields: []string{"grouper", "list"}})
		}
		group := out.items[len(out.items)-1].(*Tuple).items[1].(*List)
		group.items = append(group.items, it)
	}
	return out, nil
}
