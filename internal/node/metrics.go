package node

import (
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/stage"
)

// metrics serves what the node counts, and whether it is well. The zero
// listener serves nothing and counts all the same.
type metrics struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{} // the server has ended
	registry *prometheus.Registry
	up       atomic.Bool

	passes, rows, prefill prometheus.Counter
	sessions              *prometheus.CounterVec
	opened                prometheus.Counter
	batch                 prometheus.Histogram
	duration, wait        prometheus.Histogram
}

func listenMetrics(addr string) (*metrics, error) {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "farlabs", Name: name, Help: help})
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "farlabs", Name: name, Help: help, Buckets: buckets})
		m.registry.MustRegister(h)
		return h
	}
	m.passes = counter("passes_total", "Forward passes over the hosted blocks.")
	m.rows = counter("rows_total", "Positions computed.")
	m.prefill = counter("prefill_rows_total", "Of the positions computed, those of prompts.")
	m.opened = counter("sessions_opened_total", "Sessions opened.")
	m.batch = histogram("pass_rows", "Positions in one forward pass.", prometheus.ExponentialBuckets(1, 2, 10))
	m.duration = histogram("pass_seconds", "Time of one forward pass.", prometheus.ExponentialBuckets(0.0005, 2, 14))
	m.wait = histogram("step_wait_seconds", "From a step's arrival to its first pass.", prometheus.ExponentialBuckets(0.0001, 2, 16))
	m.sessions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "farlabs", Name: "sessions_closed_total", Help: "Sessions ended, by outcome.",
	}, []string{"outcome"})
	m.registry.MustRegister(m.sessions, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if addr == "" {
		return m, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w; choose another --metrics address or leave it out", err)
	}
	m.listener = l
	m.serve()
	return m, nil
}

func (m *metrics) addr() string {
	if m == nil || m.listener == nil {
		return ""
	}
	return m.listener.Addr().String()
}

// stage returns the events that feed the counters.
func (m *metrics) stage() stage.Events {
	return stage.Events{
		PassDone: func(p stage.PassInfo) {
			m.passes.Inc()
			m.rows.Add(float64(p.Rows))
			m.prefill.Add(float64(p.Prefill))
			m.batch.Observe(float64(p.Rows))
			m.duration.Observe(p.Duration.Seconds())
		},
		StepDone:      func(s stage.StepInfo) { m.wait.Observe(s.Wait.Seconds()) },
		SessionOpened: func(stage.SessionInfo) { m.opened.Inc() },
		SessionClosed: func(_ stage.SessionInfo, o inference.Outcome) { m.sessions.WithLabelValues(o.String()).Inc() },
	}
}

// ready adds the gauges of a node that serves, and makes /readyz say so.
func (m *metrics) ready(n *Node) {
	gauge := func(name, help string, f func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "farlabs", Name: name, Help: help}, f))
	}
	gauge("sessions", "Sessions open.", func() float64 { return float64(n.stage.Load().Sessions) })
	gauge("queue_rows", "Positions waiting for a pass.", func() float64 { return float64(n.stage.Load().Queue) })
	gauge("kv_pages", "KV pages of 16 positions of one block, in all.", func() float64 { return float64(n.cache.TotalPages()) })
	gauge("kv_pages_free", "KV pages that no session uses.", func() float64 { return float64(n.cache.FreePages()) })
	gauge("peers", "Connected nodes of the network.", func() float64 { return float64(n.net.Peers()) })
	m.up.Store(true)
}

// serve answers from now on, also while the node is still loading.
func (m *metrics) serve() {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !m.up.Load() {
			http.Error(w, "not serving", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	m.done = make(chan struct{})
	go func() {
		defer close(m.done)
		_ = m.server.Serve(m.listener)
	}()
}

func (m *metrics) close() error {
	if m.server == nil {
		return nil
	}
	err := m.server.Close()
	<-m.done
	return err
}
