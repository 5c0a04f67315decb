package requests_test

import (
	"fmt"
	"io"
	"os"

	"wattrace/formats/requests"
)

// Reading a log: the time to first token of every request.
func Example() {
	f, err := os.Open("testdata/example.jsonl")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	r := requests.NewReader(f, f.Name())
	var rec requests.Record
	for {
		err := r.Read(&rec)
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		if rec.Type != requests.TypeRequest {
			continue
		}
		if ttft, ok := rec.Request.TTFT(); ok {
			fmt.Println(rec.Request.Line, rec.Request.Outcome, ttft)
		} else {
			fmt.Println(rec.Request.Line, rec.Request.Outcome, rec.Request.Error.Class)
		}
	}
	fmt.Println("logs without a close line:", r.Incomplete())
	// Output:
	// 18 succeeded 109.879966ms
	// 19 failed connect
	// logs without a close line: 0
}
