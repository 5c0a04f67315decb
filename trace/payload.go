package trace

import "errors"

// ErrNoEndpoint is the fault of a body whose shape does not say where it goes.
var ErrNoEndpoint = errors.New(`none of the keys "messages", "prompt" and "input" is there`)

// CheckPayload checks a request body as the package comment defines it and
// returns the endpoint that its shape chooses. A fault is a *ColumnError; its
// cause is one of ErrByteOrderMark, ErrNotJSON, ErrNotObject, ErrTrailingData
// and ErrNoEndpoint.
func CheckPayload(body []byte) (Endpoint, error) {
	var messages, prompt, input bool
	err := WalkObject(body, func(m Member) error {
		switch string(m.Name) {
		case "messages":
			messages = true
		case "prompt":
			prompt = true
		case "input":
			input = true
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case messages:
		return Chat, nil
	case prompt:
		return Completions, nil
	case input:
		return Responses, nil
	}
	return "", &ColumnError{Col: 1, Err: ErrNoEndpoint}
}
