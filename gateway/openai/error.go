package openai

import (
	"encoding/json"
	"fmt"
)

// Error says what is wrong with a request: a 400.
type Error struct {
	Param   string // the field, such as "messages[2].content"; may be ""
	Code    string // may be ""
	Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

func badField(param, format string, args ...any) *Error {
	return &Error{Param: param, Message: param + ": " + fmt.Sprintf(format, args...)}
}

// APIError is the value of "error" in an answer. All four keys are always
// there; an empty Param or Code is null.
type APIError struct {
	Message, Type, Param, Code string
}

// MarshalJSON implements json.Marshaler.
func (e APIError) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}{e.Message, e.Type, orNull(e.Param), orNull(e.Code)})
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
