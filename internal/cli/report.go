package cli

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/payment"
	"github.com/farlabs/inference/payment/pricing"
)

// PrintUsage shows what was spent or earned: rows by day, model and party, and
// their sum.
func PrintUsage(w io.Writer, u payment.Usage, b Books) {
	if len(u.Rows) == 0 {
		fmt.Fprintln(w, "Nothing yet.")
		return
	}
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 6, Align: text.AlignRight, AlignFooter: text.AlignRight},
		{Number: 7, Align: text.AlignRight, AlignFooter: text.AlignRight},
	})
	t.AppendHeader(table.Row{"day", "model", b.Party, "sessions", "unsettled", "token·blocks", "USD"})
	for _, r := range u.Rows {
		t.AppendRow(table.Row{r.Day, r.Model, r.Party, r.Sessions, r.Unsettled, mark(r, b) + fmt.Sprint(r.Units.Total()), mark(r, b) + usd(r)})
	}
	total := u.Total()
	t.AppendFooter(table.Row{"", "", "", total.Sessions, total.Unsettled, mark(total, b) + fmt.Sprint(total.Units.Total()), mark(total, b) + usd(total)})
	t.Render()
	if total.Unsettled > 0 {
		fmt.Fprintln(w, map[string]string{
			BoundUpper: "≤ Unsettled sessions count with what was ordered: an upper bound, which falls where less is delivered.",
			BoundLower: "≥ Unsettled sessions count with what was computed so far.",
		}[b.Bound])
	}
	fmt.Fprintln(w, "Amounts at the development rate of 1 FAR = 1 USD; nothing is settled on a chain yet.")
}

// mark tells figures that are not final.
func mark(r payment.Row, b Books) string {
	if r.Unsettled == 0 {
		return ""
	}
	return map[string]string{BoundUpper: "≤ ", BoundLower: "≥ "}[b.Bound]
}

func usd(r payment.Row) string { return fmt.Sprintf("%.9f", pricing.ToUSD(r.Amount)) }

// PrintModels shows the catalog; have tells whether a model's file is in the cache.
func PrintModels(w io.Writer, have func(catalog.Entry) bool) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"model", "parameters", "blocks", "context", "file", "licence", "here"})
	for _, e := range catalog.Entries() {
		here := "no: " + e.Fetch
		if have(e) {
			here = "yes"
		}
		t.AppendRow(table.Row{
			e.ID, fmt.Sprintf("%.0fM", float64(e.Parameters)/1e6), e.Layers, e.Context,
			fmt.Sprintf("%.0f MiB", float64(e.Bytes)/(1<<20)), e.Licence, here,
		})
	}
	t.Render()
	fmt.Fprintln(w, "Or the path of a GGUF file of the llama architecture.")
}

// Have reports whether the file of a catalog entry is in the cache.
func Have(e catalog.Entry) bool {
	_, err := catalog.Resolve(string(e.ID), catalog.CacheDir())
	return err == nil
}

// Plural returns "1 node", "2 nodes".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
