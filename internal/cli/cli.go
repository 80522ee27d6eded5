// Package cli holds what the commands share: running a cobra command with
// signals, settings in their three spellings and errors that end it; sizes;
// the data directory; progress for people and events for programs.
//
// It shows the catalog and the books for both commands; it knows nothing of
// nodes or pipelines.
package cli

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/farlabs/inference/internal/config"
	"github.com/farlabs/inference/pipeline"
)

// Settings adds --config and --print-config to c, a command of the named
// program, whose commands share one settings file. It returns a function for
// the start of RunE: it fills the flags from environment and file and returns
// where each came from; done says that the settings were printed and nothing
// else is to happen.
func Settings(c *cobra.Command, program string) (load func() (s *config.Settings, done bool, err error)) {
	defaultPath := ""
	if dir, err := os.UserConfigDir(); err == nil {
		defaultPath = filepath.Join(dir, "farlabs", program+".yaml")
	}
	path := c.Flags().String("config", "", "settings file (YAML); default "+defaultPath+" if it exists")
	show := c.Flags().Bool("print-config", false, "print every setting, where it came from, and exit")
	return func() (*config.Settings, bool, error) {
		file, optional := *path, false
		if file == "" {
			file, optional = defaultPath, true
		}
		warnOfVariables(os.Stderr, c.Root().Name(), os.Environ())
		s, err := config.Load(c.Flags(), os.Environ(), file, optional, others(c.Root(), c)...)
		if err != nil {
			return nil, false, &UsageError{err}
		}
		if *show {
			s.Print(c.OutOrStdout())
		}
		return s, *show, nil
	}
}

// others returns the flags of all commands from root down but c.
func others(root, c *cobra.Command) (sets []*pflag.FlagSet) {
	if root != c {
		sets = append(sets, root.Flags())
	}
	for _, sub := range root.Commands() {
		sets = append(sets, others(sub, c)...)
	}
	return sets
}

// Size is a flag value of bytes: "2GiB", "512MiB", "40MB", "1048576".
type Size int64

// String implements pflag.Value.
func (s *Size) String() string {
	switch n := int64(*s); {
	case n == 0:
		return "0"
	case n%(1<<30) == 0:
		return strconv.FormatInt(n>>30, 10) + "GiB"
	case n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + "MiB"
	default:
		return strconv.FormatInt(n, 10)
	}
}

// Type implements pflag.Value.
func (s *Size) Type() string { return "size" }

// Set implements pflag.Value.
func (s *Size) Set(v string) error {
	units := []struct {
		name string
		n    float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"B", 1}, {"", 1}}
	for _, u := range units {
		if num, ok := strings.CutSuffix(v, u.name); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
			if err != nil || f < 0 || f*u.n > 1<<50 {
				break
			}
			*s = Size(f * u.n)
			return nil
		}
	}
	return errors.New("want a size such as 2GiB or 512MiB")
}

// DataDir returns the default directory for keys and books of a command:
// $XDG_DATA_HOME/farlabs/NAME, or what stands for it on other systems.
func DataDir(name string) string {
	return filepath.Join(filepath.Dir(pipeline.DefaultDataDir()), name)
}

// Logger returns a logger to standard error in the format asked for: "text"
// (colours on a terminal), "json" or "off".
func Logger(format string, level slog.Level) (*slog.Logger, error) {
	switch format {
	case "text", "":
		return slog.New(tint.NewTextHandler(os.Stderr, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !term.IsTerminal(int(os.Stderr.Fd()))})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})), nil
	case "off":
		return slog.New(slog.DiscardHandler), nil
	}
	return nil, Usagef("--log-format %q: want text, json or off", format)
}

// JSONLines writes one JSON object per line; safe for concurrent use.
type JSONLines struct {
	mu sync.Mutex
	w  io.Writer
}

// NewJSONLines returns JSONLines to w.
func NewJSONLines(w io.Writer) *JSONLines { return &JSONLines{w: w} }

// Write writes v.
func (j *JSONLines) Write(v any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	_, _ = j.w.Write(append(b, '\n'))
}
