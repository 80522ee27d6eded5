//go:build unix

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// stream asks a gateway for a long answer and tells each piece of it, until
// the answer or the gateway ends.
func stream(url string, piece func(text string)) error {
	body := fmt.Sprintf(`{"model":%q,"stream":true,"max_tokens":2000,"temperature":0,"messages":[{"role":"user","content":"Explain in three sentences why the sky is blue."}]}`, modelID)
	resp, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("%s: %s", resp.Status, b)
	}
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		var c struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		data, ok := strings.CutPrefix(in.Text(), "data: ")
		if ok && json.Unmarshal([]byte(data), &c) == nil && len(c.Choices) > 0 && c.Choices[0].Delta.Content != "" {
			piece(c.Choices[0].Delta.Content)
		}
	}
	return in.Err()
}
