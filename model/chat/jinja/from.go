package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// From converts a Go value: nil, booleans, numbers, strings, []any, []string,
// map[string]any (by ascending key, for Go maps have no order),
// json.RawMessage and json.Number, the values of this package as they are, and
// anything else by way of its JSON form. Every string in it, keys included, is
// data; invalid UTF-8 becomes U+FFFD.
func From(v any) (Value, error) { return from(v, 0) }

func from(v any, depth int) (Value, error) {
	if depth > MaxDepth {
		return nil, limitErr("depth of a value", MaxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, Str, *List, *Dict, *Tuple, *big.Int:
		return v, nil
	case int:
		return int64(v), nil
	case string:
		return Data(strings.ToValidUTF8(v, "\ufffd")), nil
	case json.Number:
		return fromNumber(string(v))
	case json.RawMessage:
		return fromJSON(v)
	case []any:
		l := NewList()
		for _, x := range v {
			y, err := from(x, depth+1)
			if err != nil {
				return nil, err
			}
			l.items = append(l.items, y)
		}
		return l, nil
	case []string:
		l := NewList()
		for _, x := range v {
			l.items = append(l.items, Data(strings.ToValidUTF8(x, "\ufffd")))
		}
		return l, nil
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		d := NewDict()
		for _, k := range keys {
			y, err := from(v[k], depth+1)
			if err != nil {
				return nil, err
			}
			d.Set(Data(strings.ToValidUTF8(k, "\ufffd")), y)
		}
		return d, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("value of type %T: %w", v, err)
	}
	return fromJSON(text)
}

// fromJSON reads JSON as Python's json.loads does: objects keep their order,
// integers any size.
func fromJSON(text []byte) (Value, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := decode(d, 0)
	if err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("JSON: more than one value")
	}
	return v, nil
}

func decode(d *json.Decoder, depth int) (Value, error) {
	if depth > MaxDepth {
		return nil, limitErr("depth of a value", MaxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case string:
		return Data(t), nil
	case json.Number:
		return fromNumber(string(t))
	case json.Delim:
		if t == '[' {
			l := NewList()
			for d.More() {
				v, err := decode(d, depth+1)
				if err != nil {
					return nil, err
				}
				l.items = append(l.items, v)
			}
			_, err := d.Token()
			return l, err
		}
		m := NewDict()
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			m.Set(Data(k.(string)), v)
		}
		_, err := d.Token()
		return m, err
	}
	return t, nil // nil or bool
}

func fromNumber(s string) (Value, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return nil, errors.New("bad number")
		}
		return f, nil
	}
	return parseInt(s, 10)
}
