package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/internal/config"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/pipeline"
)

// asking are the settings of run and chat.
type asking struct {
	connection
	model, modelID, system string
	maxTokens              int
	temperature, topP      float32
	seed                   uint64
	seeded                 bool // a seed was given
	json                   bool
}

func (f *asking) add(c *cobra.Command) {
	f.connection.add(c)
	f.addSession(c)
	p := c.Flags()
	p.StringVarP(&f.model, "model", "m", defaultModel(), "catalog id or path of a GGUF file")
	p.StringVar(&f.modelID, "model-id", "", "name for a model given by a path")
	p.StringVar(&f.system, "system", "", "system message")
	p.IntVar(&f.maxTokens, "max-tokens", 512, "most tokens of an answer; 0: as many as fit the context")
	p.Float32Var(&f.temperature, "temperature", 0.7, "how freely words are chosen; 0: always the likeliest")
	p.Float32Var(&f.topP, "top-p", 0.95, "choose among the likeliest words of this total probability")
	p.Uint64Var(&f.seed, "seed", 0, "repeat an answer: the same seed gives the same text; default: random")
	p.BoolVarP(&f.verbose, "verbose", "v", false, "show the route, its direct edges and the time per hop")
	cli.CompleteModels(c, "model")
}

// loaded takes from the settings what their values do not tell.
func (f *asking) loaded(s *config.Settings) { f.seeded = s.Given("seed") }

func (f *asking) request(msgs []chat.Message) pipeline.Request {
	r := pipeline.Request{
		Messages: msgs, MaxTokens: f.maxTokens,
		Sampling: sample.Params{Temperature: f.temperature, TopP: f.topP},
	}
	if f.seeded {
		r.Seed = &f.seed
	}
	return r
}

// maxTemperature is that of the OpenAI API. Far above it every word is as likely
// as any other.
const maxTemperature = 2

// check finds what is wrong with the settings before anything is joined.
func (f *asking) check() error {
	switch {
	case f.maxTokens < 0:
		return cli.Usagef("--max-tokens %d: want 0, which is as many as fit, or more", f.maxTokens)
	case !(f.temperature >= 0 && f.temperature <= maxTemperature):
		return cli.Usagef("--temperature %v: want 0 to %d", f.temperature, maxTemperature)
	case (&sample.Params{TopP: f.topP}).Validate() != nil:
		return cli.Usagef("--top-p %v: want 0 to 1", f.topP)
	}
	return f.connection.check()
}

func (f *asking) open(ctx context.Context) (*pipeline.Client, *pipeline.DistributedPipeline, error) {
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	if _, err := checkModel(f.model, inference.ModelID(f.modelID)); err != nil {
		return nil, nil, err
	}
	bar := cli.NewProgress(os.Stderr)
	if term.IsTerminal(int(os.Stderr.Fd())) {
		bar.Printf("Connecting to Far Labs Network …")
	}
	w := &waiting{w: os.Stderr, model: f.model}
	c, err := f.client(ctx, w.events())
	if err != nil {
		return nil, nil, err
	}
	w.lost = func() error { return f.lost(c) }
	p, err := c.Pipeline(ctx, f.model, inference.ModelID(f.modelID), progress(bar, f.model))
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, p, nil
}

func run() *cobra.Command {
	var f asking
	c := &cobra.Command{
		Use:   "run [PROMPT]",
		Short: "Ask one question",
		Long:  "run asks one question and prints the answer as it comes. Without a prompt on the line it is read from standard input.",
		Example: `  farclient run "Name three rivers of Europe."
  farclient run -v --temperature 0 "What is 17 times 23?"
  cat letter.txt | farclient run --system "Summarise the letter."`,
	}
	f.add(c)
	c.Flags().BoolVar(&f.json, "json", false, "print the answer, usage and route as one JSON object")
	load := cli.Settings(c, "farclient")
	c.RunE = func(c *cobra.Command, args []string) error {
		s, done, err := load()
		if done || err != nil {
			return err
		}
		f.loaded(s)
		if len(args) > 0 && cli.IsModel(args[0]) {
			return cli.Usagef("%q is a model, not a prompt; name it by a flag: farclient run --model %s \"…\"", args[0], args[0])
		}
		prompt := strings.Join(args, " ")
		if len(args) == 0 {
			if term.IsTerminal(int(os.Stdin.Fd())) {
				return cli.Usagef("no prompt: give it on the line, or on standard input")
			}
			b, err := io.ReadAll(io.LimitReader(os.Stdin, 16<<20))
			if err != nil {
				return err
			}
			prompt = string(b)
		}
		if strings.TrimSpace(prompt) == "" {
			return cli.Usagef("the prompt is empty: nothing to ask")
		}
		return f.run(c, prompt)
	}
	return c
}

func (f *asking) messages(prompt string) []chat.Message {
	var msgs []chat.Message
	if f.system != "" {
		msgs = append(msgs, chat.Message{Role: "system", Content: f.system})
	}
	return append(msgs, chat.Message{Role: "user", Content: prompt})
}

// answer is what run --json prints.
type answer struct {
	Text    string              `json:"text"`
	Finish  pipeline.Finish     `json:"finish_reason"`
	Usage   *inference.Usage    `json:"usage"`
	Seconds float64             `json:"seconds"`
	First   float64             `json:"first_token_seconds"`
	Route   *pipeline.RouteInfo `json:"route"`
}

func (f *asking) run(c *cobra.Command, prompt string) (err error) {
	client, p, err := f.open(c.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	var out io.Writer = c.OutOrStdout()
	if f.json {
		out = io.Discard
	}
	a, err := f.stream(c.Context(), out, p.Generate, f.request(f.messages(prompt)))
	if err != nil {
		if a.Text != "" {
			fmt.Fprintln(out) // the error gets a line of its own
		}
		if errors.Is(err, pipeline.ErrNoRoute) && len(f.bootstrap) > 0 && client.Node().Alone() {
			return fmt.Errorf("%w\n%w", show(err), errUnreachable)
		}
		return explain(err)
	}
	if f.json {
		cli.NewJSONLines(c.OutOrStdout()).Write(a)
		return nil
	}
	fmt.Fprintln(out)
	return nil
}

// unwritten is the error of a stream whose text could not be written.
type unwritten struct{ err error }

func (u *unwritten) Error() string { return u.err.Error() }
func (u *unwritten) Unwrap() error { return u.err }

// generate is what answers: [pipeline.DistributedPipeline.Generate].
type generate func(context.Context, pipeline.Request) iter.Seq2[pipeline.Delta, error]

// stream prints an answer as it comes; with -v the route goes to standard error.
// What there is of the answer is returned with an error too.
func (f *asking) stream(ctx context.Context, out io.Writer, generate generate, r pipeline.Request) (answer, error) {
	var a answer
	var text strings.Builder
	begin := time.Now()
	for d, err := range generate(ctx, r) {
		if err != nil {
			a.Text = text.String()
			return a, err
		}
		if d.Route != nil {
			if f.verbose && (a.Route == nil || a.Route.Epoch != d.Route.Epoch) {
				fmt.Fprintf(os.Stderr, "route %d: %s\n", d.Route.Epoch, d.Route)
			}
			a.Route = d.Route
		}
		if d.Text != "" && a.First == 0 {
			a.First = time.Since(begin).Seconds()
		}
		text.WriteString(d.Text)
		if _, err := fmt.Fprint(out, d.Text); err != nil {
			// Nobody gets the rest, which would be paid all the same.
			a.Text = text.String()
			return a, &unwritten{err}
		}
		if d.Finish != "" {
			a.Finish = d.Finish
		}
		if d.Usage != nil {
			a.Usage = d.Usage
		}
	}
	a.Text, a.Seconds = text.String(), time.Since(begin).Seconds()
	if f.verbose {
		f.report(a)
	}
	return a, nil
}

func (f *asking) report(a answer) {
	fmt.Fprintf(os.Stderr, "\n")
	for i, h := range a.Route.Hops {
		edge := "to the client"
		if i+1 < len(a.Route.Hops) {
			edge = map[bool]string{true: "direct to hop ", false: "through the client to hop "}[h.Direct] + fmt.Sprint(i+2)
		}
		fmt.Fprintf(os.Stderr, "hop %d  %-16s %s  blocks %-6s  compute %6.1f ms  wait %5.1f ms  gap %5.2f ms  %s\n",
			i+1, h.Name, h.Peer.Short(), h.Blocks, ms(h.Compute), ms(h.Wait), ms(h.Gap), edge)
	}
	if a.Usage != nil && a.Seconds > a.First {
		n := float64(max(a.Usage.CompletionTokens-1, 0))
		fmt.Fprintf(os.Stderr, "%d prompt + %d answer tokens · first after %.2f s · %.1f tok/s\n",
			a.Usage.PromptTokens, a.Usage.CompletionTokens, a.First, n/(a.Seconds-a.First))
	}
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// inside is what errors of a session begin with, which says nothing to people.
var inside = regexp.MustCompile(`^(prompt|token \d+): session [0-9a-f]+: `)

// shown is an error in words for people.
type shown struct {
	text string
	err  error
}

func (s *shown) Error() string { return s.text }
func (s *shown) Unwrap() error { return s.err }

func show(err error) error { return &shown{inside.ReplaceAllString(err.Error(), ""), err} }

// explain adds to an error what to do next.
func explain(err error) error {
	err = show(err)
	switch {
	case errors.Is(err, pipeline.ErrNoRoute):
		return fmt.Errorf("%w\nSee what is served: farclient network (with the same --bootstrap); add a node: start_node --model …", err)
	case errors.Is(err, pipeline.ErrContextLength):
		return fmt.Errorf("%w\nShorten the prompt, or ask in parts", err)
	case errors.Is(err, pipeline.ErrPriceCeiling):
		return fmt.Errorf("%w\nRaise --max-price, or see prices: farclient network", err)
	case errors.Is(err, pipeline.ErrNoProgress):
		return fmt.Errorf("%w\nThe nodes are too slow or gone: farclient network shows them, --timeout allows more", err)
	}
	return err
}
