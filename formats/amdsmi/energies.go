package amdsmi

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"wattrace/trace"
)

// Energies reads a table of energy counters without times, of `amd-smi metric -E --csv`, as
// InferenceX keeps it of before and after a log of power: total_energy_consumption by gpu,
// in joules. A GPU whose counter is N/A is left out. name is for errors, which are
// *trace.SyntaxError.
func Energies(b []byte, name string) (map[int]float64, error) {
	const counter = "total_energy_consumption"
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	out := map[int]float64{}
	gpuAt, counterAt, columns := -1, -1, 0
	for number, line := range bytes.Split(b, []byte("\n")) {
		line = bytes.TrimRight(line, "\r")
		fault := func(col int, format string, args ...any) error {
			return &trace.SyntaxError{Pos: trace.Pos{File: name, Line: number + 1, Col: col}, Err: fmt.Errorf(format, args...)}
		}
		if len(bytes.TrimSpace(line)) == 0 || bytes.HasPrefix(line, []byte("WARNING")) {
			continue
		}
		var texts []string
		var cols []int
		for pos := 0; pos >= 0; {
			var text []byte
			var col int
			text, col, pos = cell(line, pos)
			texts, cols = append(texts, string(text)), append(cols, col)
		}
		if columns == 0 {
			columns = len(texts)
			for i, text := range texts {
				switch text {
				case gpu:
					gpuAt = i
				case counter:
					counterAt = i
				}
			}
			if gpuAt < 0 || counterAt < 0 {
				return nil, fault(1, "not a table of energy counters: gpu and %s are wanted", counter)
			}
			continue
		}
		if len(texts) != columns {
			return nil, fault(1, "%d fields, where the header has %d", len(texts), columns)
		}
		index, err := strconv.ParseUint(texts[gpuAt], 10, 16)
		if err != nil {
			return nil, fault(cols[gpuAt], "not the number of a GPU")
		}
		if _, twice := out[int(index)]; twice {
			return nil, fault(cols[gpuAt], "GPU %d is there twice", index)
		}
		text := strings.Trim(texts[counterAt], "[]")
		if text == "N/A" || text == "" {
			continue
		}
		joules, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(text, "J")), 64)
		if err != nil || math.IsNaN(joules) || joules < 0 || joules > 1e15 {
			return nil, fault(cols[counterAt], "%s is not a number of joules", counter)
		}
		out[int(index)] = joules
	}
	if columns == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name, Line: 1}, Err: errors.New("the table is empty")}
	}
	return out, nil
}
