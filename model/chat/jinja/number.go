package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// normal returns b as an int64 if it fits.
func normal(b *big.Int) Value {
	if b.IsInt64() {
		return b.Int64()
	}
	return b
}

func toBig(v Value) (*big.Int, bool) {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v), true
	case bool:
		if v {
			return big.NewInt(1), true
		}
		return new(big.Int), true
	case *big.Int:
		return v, true
	}
	return nil, false
}

func isNumber(v Value) bool {
	switch v.(type) {
	case bool, int64, *big.Int, float64:
		return true
	}
	return false
}

var errTooLarge = errors.New("int too large to convert to float")

func toFloat(v Value) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case int64:
		return float64(v), nil
	}
	b, _ := toBig(v)
	f, _ := new(big.Float).SetInt(b).Float64()
	if math.IsInf(f, 0) {
		return 0, errTooLarge
	}
	return f, nil
}

// arith is a op b for two numbers.
func (r *run) arith(op string, a, b Value) (Value, error) {
	_, af := a.(float64)
	_, bf := b.(float64)
	if af || bf || op == "/" {
		x, err := toFloat(a)
		if err != nil {
			return nil, err
		}
		y, err := toFloat(b)
		if err != nil {
			return nil, err
		}
		return floatArith(op, x, y)
	}
	if x, ok := asInt(a); ok {
		if y, ok := asInt(b); ok {
			if v, ok := smallArith(op, x, y); ok {
				return v, nil
			}
		}
	}
	x, _ := toBig(a)
	y, _ := toBig(b)
	if err := r.step(1 + (x.BitLen()+y.BitLen())/64); err != nil {
		return nil, err
	}
	z := new(big.Int)
	switch op {
	case "+":
		z.Add(x, y)
	case "-":
		z.Sub(x, y)
	case "*":
		z.Mul(x, y)
	case "//", "%":
		if y.Sign() == 0 {
			return nil, errors.New("integer division or modulo by zero")
		}
		m := new(big.Int)
		z.QuoRem(x, y, m) // truncated; Python rounds down
		if m.Sign() != 0 && m.Sign() != y.Sign() {
			z.Sub(z, big.NewInt(1))
			m.Add(m, y)
		}
		if op == "%" {
			z = m
		}
	case "**":
		if y.Sign() < 0 {
			fx, err := toFloat(a)
			if err != nil {
				return nil, err
			}
			fy, err := toFloat(b)
			if err != nil {
				return nil, err
			}
			return floatArith(op, fx, fy)
		}
		if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > MaxBits || int64(x.BitLen()-1)*y.Int64() > MaxBits) {
			return nil, limitErr("bits of an integer", MaxBits)
		}
		if x.BitLen() <= 1 && !y.IsInt64() { // 0, 1 or -1: only the parity counts
			y = new(big.Int).And(y, big.NewInt(1))
			if x.Sign() == 0 {
				return int64(0), nil
			}
		}
		z.Exp(x, y, nil)
	}
	if z.BitLen() > MaxBits {
		return nil, limitErr("bits of an integer", MaxBits)
	}
	return normal(z), nil
}

// smallArith answers for results that surely fit.
func smallArith(op string, x, y int64) (Value, bool) {
	const half = 1 << 31
	switch op {
	case "+":
		z := x + y
		return z, (z > x) == (y > 0)
	case "-":
		z := x - y
		return z, (z < x) == (y > 0)
	case "*":
		return x * y, x > -half && x < half && y > -half && y < half
	case "//", "%":
		if y == 0 || y == -1 {
			return nil, false
		}
		q, m := x/y, x%y
		if m != 0 && (m < 0) != (y < 0) {
			q, m = q-1, m+y
		}
		if op == "%" {
			return m, true
		}
		return q, true
	}
	return nil, false
}

func floatArith(op string, x, y float64) (Value, error) {
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	case "/":
		if y == 0 {
			return nil, errors.New("division by zero")
		}
		return x / y, nil
	case "//", "%":
		if y == 0 {
			return nil, errors.New("float modulo or division by zero")
		}
		m := math.Mod(x, y)
		q := (x - m) / y
		if m != 0 {
			if (y < 0) != (m < 0) {
				m += y
				q--
			}
		} else {
			m = math.Copysign(0, y)
		}
		if op == "%" {
			return m, nil
		}
		if q == 0 {
			return math.Copysign(0, x/y), nil
		}
		f := math.Floor(q)
		if q-f > 0.5 {
			f++
		}
		return f, nil
	}
	z := math.Pow(x, y) // **
	switch {
	case x == 0 && y < 0:
		return nil, errors.New("0.0 cannot be raised to a negative power")
	case math.IsNaN(z) && !math.IsNaN(x) && !math.IsNaN(y):
		return nil, errors.New("complex numbers are not implemented")
	case math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0):
		return nil, errors.New("numerical result out of range")
	}
	return z, nil
}

// formatFloat is repr(f): the shortest digits that read back as f.
func formatFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64) // the exponent has two digits or more, as Python's
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// parseInt is int(s, base): blanks around, a sign, underscores between digits,
// a prefix that agrees with the base.
func parseInt(s string, base int) (Value, error) {
	bad := fmt.Errorf("invalid literal for int() with base %d", base)
	t := strings.ToLower(strings.TrimFunc(s, isSpace))
	neg := strings.HasPrefix(t, "-")
	if neg || strings.HasPrefix(t, "+") {
		t = t[1:]
	}
	for p, b := range map[string]int{"0b": 2, "0o": 8, "0x": 16} {
		if strings.HasPrefix(t, p) && (base == b || base == 0) {
			t, base = strings.TrimPrefix(t[2:], "_"), b
			break
		}
	}
	if base == 0 {
		if len(t) > 1 && t[0] == '0' && strings.Trim(t, "0_") != "" {
			return nil, bad
		}
		base = 10
	}
	if base < 2 || base > 36 {
		return nil, errors.New("int() base must be >= 2 and <= 36, or 0")
	}
	if len(t) > MaxBits/4 {
		return nil, limitErr("digits of a number", MaxBits/4)
	}
	n := digits(t, func(c byte) bool {
		d := 99
		if isDigit(c) {
			d = int(c - '0')
		} else if c >= 'a' && c <= 'z' {
			d = int(c-'a') + 10
		}
		return d < base
	})
	if n == 0 || n != len(t) {
		return nil, bad
	}
	v, ok := new(big.Int).SetString(strings.ReplaceAll(t, "_", ""), base)
	if !ok {
		return nil, bad
	}
	if neg {
		v.Neg(v)
	}
	return normal(v), nil
}

// parseFloat is float(s).
func parseFloat(s string) (float64, error) {
	bad := errors.New("could not convert string to float")
	t := strings.ToLower(strings.TrimFunc(s, isSpace))
	u := strings.TrimLeft(t, "+-")
	if len(t)-len(u) > 1 || len(t) > 4096 {
		return 0, bad
	}
	switch u {
	case "inf", "infinity", "nan":
	default:
		n := digits(u, isDigit)
		dot := false
		if n < len(u) && u[n] == '.' {
			dot = true
			d := digits(u[n+1:], isDigit)
			if n+d == 0 {
				return 0, bad
			}
			n += d + 1
		}
		if n == 0 || (n == 1 && dot) {
			return 0, bad
		}
		n += exponent(u[n:])
		if n != len(u) {
			return 0, bad
		}
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(t, "_", ""), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, bad
	}
	return f, nil
}

// truncate is int(f).
func truncate(f float64) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("cannot convert float %s to integer", formatFloat(f))
	}
	b, _ := new(big.Float).SetFloat64(math.Trunc(f)).Int(nil)
	return normal(b), nil
}

// roundTo is round(f, digits), half to even on the exact decimal value.
func roundTo(f float64, digits int64) float64 {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0) || f == 0 || digits > 330:
		return f
	case digits < -330:
		return math.Copysign(0, f)
	case digits >= 0:
		g, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64)
		return g
	}
	// Round the exact value at a power of ten.
	exact, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'f', -1, 64))
	exact.SetFloat64(f)
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(-digits), nil)
	g, _ := roundRat(new(big.Rat).Quo(exact, new(big.Rat).SetInt(p)), p).Float64()
	return g
}

// roundRat rounds q to an integer, half to even, and returns it times scale.
func roundRat(q *big.Rat, scale *big.Int) *big.Rat {
	n, d := new(big.Int).Set(q.Num()), q.Denom()
	neg := n.Sign() < 0
	n.Abs(n)
	i, rem := new(big.Int).QuoRem(n, d, new(big.Int))
	switch rem.Lsh(rem, 1).Cmp(d) {
	case 1:
		i.Add(i, big.NewInt(1))
	case 0:
		if i.Bit(0) == 1 {
			i.Add(i, big.NewInt(1))
		}
	}
	if neg {
		i.Neg(i)
	}
	return new(big.Rat).SetInt(i.Mul(i, scale))
}
