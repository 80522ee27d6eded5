// Package config gives every setting of a command one name in three spellings:
// the flag --max-sessions, the variable FARLABS_MAX_SESSIONS, and the key
// max_sessions of a YAML file. The flag wins over the variable, the variable
// over the file, the file over the default.
//
// In: a command's flag set, already parsed. Out: the same flag set with the
// values of the other two spellings filled in, and where each value came from
// ([Settings.Source], [Settings.Print]). A key of the file that belongs to no
// command is an error, so that a typing mistake never passes for a setting; a
// variable that belongs to none is left alone here, because some are no flags of
// any command (FARLABS_CACHE) and others belong to another program.
//
// The package knows no setting by name and keeps no values of its own.
package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// EnvAnnotation names the annotation of a flag whose variable is not FARLABS_
// and its name: flags.SetAnnotation("name", config.EnvAnnotation, []string{"FARLABS_NODE_NAME"}).
const EnvAnnotation = "farlabs-env"

// CommandOnly names the flags that are about the command itself and have no
// other spelling.
var CommandOnly = []string{"help", "config", "print-config", "version"}

// Settings tells where each value came from.
type Settings struct {
	flags  *pflag.FlagSet
	source map[string]string
}

// Load fills flags from the variables of env (as os.Environ returns them) and
// from the file at path, which need not exist when optional. The file may also
// hold keys of others, the flags of other commands that read the same file.
func Load(flags *pflag.FlagSet, env []string, path string, optional bool, others ...*pflag.FlagSet) (*Settings, error) {
	s := &Settings{flags: flags, source: map[string]string{}}
	fromFile, err := read(path, optional)
	if err != nil {
		return nil, err
	}
	vars := map[string]string{}
	for _, e := range env {
		if k, v, ok := strings.Cut(e, "="); ok && strings.HasPrefix(k, "FARLABS_") {
			vars[k] = v
		}
	}
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if slices.Contains(CommandOnly, f.Name) {
			return
		}
		name, key := Env(f), Key(f)
		written, inFile := fromFile[key]
		delete(fromFile, key)
		switch {
		case f.Changed:
			s.source[f.Name] = "flag"
		case vars[name] != "":
			s.source[f.Name] = "env " + name
			if err := set(f, value{words: []string{vars[name]}}); err != nil {
				errs = append(errs, fmt.Errorf("%s=%q: %w", name, vars[name], Explain(f, err)))
			}
		case inFile:
			s.source[f.Name] = "file " + path
			switch err := set(f, written); {
			case errors.Is(err, errNoList):
				errs = append(errs, fmt.Errorf("%s: %s: %w", path, key, err))
			case err != nil:
				errs = append(errs, fmt.Errorf("%s: %s: %q: %w", path, key, strings.Join(written.words, ", "), Explain(f, err)))
			}
		default:
			s.source[f.Name] = "default"
		}
	})
	for _, o := range others {
		o.VisitAll(func(f *pflag.Flag) {
			if !slices.Contains(CommandOnly, f.Name) {
				delete(fromFile, Key(f))
			}
		})
	}
	for _, key := range slices.Sorted(maps.Keys(fromFile)) {
		errs = append(errs, fmt.Errorf("%s: no setting is called %q%s", path, key, hint(append([]*pflag.FlagSet{flags}, others...), key)))
	}
	return s, errors.Join(errs...)
}

// set gives a flag its value and leaves it unchanged in the sense of pflag, so
// that a command still sees what was said on its line.
func set(f *pflag.Flag, v value) error {
	if !v.list {
		return f.Value.Set(v.words[0])
	}
	list, ok := f.Value.(pflag.SliceValue)
	if !ok {
		return errNoList
	}
	return list.Replace(v.words)
}

var errNoList = errors.New("want one value, not a list")

// Env returns the variable of a flag.
func Env(f *pflag.Flag) string {
	if a := f.Annotations[EnvAnnotation]; len(a) == 1 {
		return a[0]
	}
	return "FARLABS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// Key returns the key of a flag in a file.
func Key(f *pflag.Flag) string { return strings.ReplaceAll(f.Name, "-", "_") }

// hint suggests a key for one that no command has.
func hint(sets []*pflag.FlagSet, key string) string {
	var keys []string
	for _, flags := range sets {
		flags.VisitAll(func(f *pflag.Flag) {
			if !slices.Contains(CommandOnly, f.Name) {
				keys = append(keys, Key(f))
			}
		})
	}
	if best := Nearest(key, keys); best != "" {
		return fmt.Sprintf(", did you mean %q?", best)
	}
	return ""
}

// Source returns where the value of a flag came from: "flag", "env NAME",
// "file PATH" or "default".
func (s *Settings) Source(flag string) string { return s.source[flag] }

// Given reports whether a flag's value came from anywhere but its default.
// Flag.Changed does not tell: it knows only of the command's line.
func (s *Settings) Given(flag string) bool {
	source := s.source[flag]
	return source != "" && source != "default"
}

// Print writes every setting with its value and where it came from.
func (s *Settings) Print(w io.Writer) {
	s.flags.VisitAll(func(f *pflag.Flag) {
		if slices.Contains(CommandOnly, f.Name) {
			return
		}
		value := f.Value.String()
		if strings.Contains(f.Name, "key") && value != "" && value != "[]" {
			value = "(set)"
		}
		fmt.Fprintf(w, "%-16s %-32s # %s\n", Key(f)+":", value, s.source[f.Name])
	})
}
