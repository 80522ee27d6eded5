package jinja

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// strftime formats t as C's function of that name does in the C locale, with
// the glibc extensions that templates use.
func strftime(t time.Time, format string) (string, error) {
	if len(format) > 1024 {
		return "", limitErr("bytes of a time format", 1024)
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		pad := byte(0)
		if c := format[i]; (c == '-' || c == '_' || c == '0' || c == '^' || c == '#') && i+1 < len(format) {
			pad = c
			i++
		}
		s, err := timeField(t, format[i], pad)
		if err != nil {
			return "", err
		}
		if pad == '^' {
			s = strings.ToUpper(s)
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func timeField(t time.Time, c, pad byte) (string, error) {
	num := func(n, width int, fill byte) string {
		switch pad {
		case '-':
			return fmt.Sprint(n)
		case '_':
			fill = ' '
		case '0':
			fill = '0'
		}
		s := fmt.Sprint(n)
		return strings.Repeat(string(fill), max(width-len(s), 0)) + s
	}
	sub := func(format string) (string, error) { return strftime(t, format) }
	hour12 := (t.Hour()+11)%12 + 1
	yday := t.YearDay()
	wday := int(t.Weekday())
	isoYear, isoWeek := t.ISOWeek()
	switch c {
	case '%':
		return "%", nil
	case 'n':
		return "\n", nil
	case 't':
		return "\t", nil
	case 'a':
		return t.Format("Mon"), nil
	case 'A':
		return t.Format("Monday"), nil
	case 'b', 'h':
		return t.Format("Jan"), nil
	case 'B':
		return t.Format("January"), nil
	case 'c':
		return sub("%a %b %e %H:%M:%S %Y")
	case 'C':
		return num(t.Year()/100, 2, '0'), nil
	case 'd':
		return num(t.Day(), 2, '0'), nil
	case 'D', 'x':
		return sub("%m/%d/%y")
	case 'e':
		return num(t.Day(), 2, ' '), nil
	case 'f':
		return num(t.Nanosecond()/1000, 6, '0'), nil
	case 'F':
		return sub("%Y-%m-%d")
	case 'g':
		return num(isoYear%100, 2, '0'), nil
	case 'G':
		return num(isoYear, 4, '0'), nil
	case 'H':
		return num(t.Hour(), 2, '0'), nil
	case 'I':
		return num(hour12, 2, '0'), nil
	case 'j':
		return num(yday, 3, '0'), nil
	case 'k':
		return num(t.Hour(), 2, ' '), nil
	case 'l':
		return num(hour12, 2, ' '), nil
	case 'm':
		return num(int(t.Month()), 2, '0'), nil
	case 'M':
		return num(t.Minute(), 2, '0'), nil
	case 'p':
		return t.Format("PM"), nil
	case 'P':
		return strings.ToLower(t.Format("PM")), nil
	case 'r':
		return sub("%I:%M:%S %p")
	case 'R':
		return sub("%H:%M")
	case 's':
		return fmt.Sprint(t.Unix()), nil
	case 'S':
		return num(t.Second(), 2, '0'), nil
	case 'T', 'X':
		return sub("%H:%M:%S")
	case 'u':
		return fmt.Sprint((wday+6)%7 + 1), nil
	case 'U':
		return num((yday+6-wday)/7, 2, '0'), nil
	case 'V':
		return num(isoWeek, 2, '0'), nil
	case 'w':
		return fmt.Sprint(wday), nil
	case 'W':
		return num((yday+6-(wday+6)%7)/7, 2, '0'), nil
	case 'y':
		return num(t.Year()%100, 2, '0'), nil
	case 'Y':
		return num(t.Year(), 1, '0'), nil
	case 'z', 'Z':
		return "", nil // the time is naive: it has no zone
	}
	return "", errors.New("strftime: directive not implemented")
}
