package lengths

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/formats"
	"wattrace/formats/tokens"
	"wattrace/trace"
)

// readAll returns each request as line at input output.
func readAll(in string) (rows, errs []string) {
	r := NewReader(strings.NewReader(in), "l.csv", 0)
	for {
		var row formats.Request
		err := r.Read(&row)
		if err == io.EOF {
			return rows, errs
		}
		var syntax *trace.SyntaxError
		if err != nil {
			errs = append(errs, err.Error())
			if !errors.As(err, &syntax) {
				return rows, errs
			}
			continue
		}
		rows = append(rows, fmt.Sprint(row.Pos.Line, row.Timing.AtSeconds.V, len(row.IDs), row.Timing.OutputTokens.V))
		if row.Timing.InputTokens.V != int64(len(row.IDs)) || !cmp.Equal(row.IDs, tokens.Default.AppendUnique(nil, uint64(row.Pos.Line), len(row.IDs))) {
			errs = append(errs, "other ids")
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		"TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,48,10\r\n2023-11-16 18:17:04.0319601,31,8\r\n2023-11-16 18:17:04.0319601,3,0\r\n2023-11-17 18:17:03.97996,1,1": {
			"2 0 48 10", "3 0.0520001 31 8", "5 86400 1 1",
		},
		"\ufeff\"GeneratedTokens\", TIMESTAMP ,x,\"ContextTokens\"\n\n3,\"2024-05-10 00:00:03+00:00\",\"a b\",\"7\"\n 4 ,2024-05-10T02:00:03.009930+02:00,,8\n5,2024-05-10T00:00:04Z,,9\n": {
			"3 0 7 3", "4 0.00993 8 4", "5 1 9 5",
		},
		"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n4.25,GPT-4,1087,0,1087,API log\n4.5,GPT-4,2,1,3,API log": {
			"2 5 472 18", "4 4.5 2 1",
		},
		"": nil,
	} {
		rows, errs := readAll(in)
		if d := cmp.Diff(want, rows); d != "" || errs != nil {
			t.Errorf("%q: %v (-want +got):\n%s", in, errs, d)
		}
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	const azure, burst = "TIMESTAMP,ContextTokens,GeneratedTokens\n", "Timestamp,Request tokens,Response tokens\n"
	for _, c := range []struct{ head, good, marked, want string }{
		{azure, "2023-11-16 18:17:03,1,1", "2023-11-16 18:17:04,∑0,1", `"ContextTokens" must be an integer from 1 to 16777216`},
		{azure, "2023-11-16 18:17:03,1,1", "2023-11-16 18:17:04, \"∑16777217\",1", `"ContextTokens" must be an integer from 1 to 16777216`},
		{azure, "2023-11-16 18:17:03,1,1", "2023-11-16 18:17:04,1,∑-1", `"GeneratedTokens" must be an integer from 0 to 2147483647`},
		{azure, "2023-11-16 18:17:03,1,1", "2023-11-16 18:17:04,1,∑1.0", `"GeneratedTokens" must be an integer from 0 to 2147483647`},
		{azure, "2023-11-16 18:17:03,1,1", "2023-11-16 18:17:04,1,∑", `"GeneratedTokens" must be an integer from 0 to 2147483647`},
		{azure, "2023-11-16 18:17:03,1,1", "∑2023-11-16 18:17:02.9,1,1", `"TIMESTAMP" is earlier than the first`},
		{azure, "2023-11-16 18:17:03,1,1", "∑2223-11-16 18:17:02.9,1,1", `"TIMESTAMP" is beyond what can be scheduled`},
		{azure, "2023-11-16 18:17:03,1,1", "∑16/11/2023,1,1", `"TIMESTAMP" must be a date and time`},
		{azure, "2023-11-16 18:17:03,1,1", "∑\xff,1,1", `"TIMESTAMP" must be a date and time`},
		{azure, "2023-11-16 18:17:03,1,1", "∑2023-11-16 18:17:04,1", `2 fields where the header has 3`},
		{azure, "2023-11-16 18:17:03,1,1", "∑2023-11-16 18:17:04,1,1,1", `4 fields where the header has 3`},
		{burst, "5,1,1", " ∑-5,1,1", `"Timestamp" must be seconds, not negative and less than 73 years`},
		{burst, "5,1,1", "∑nan,1,1", `"Timestamp" must be seconds, not negative and less than 73 years`},
		{burst, "5,1,1", "∑1e10,1,1", `"Timestamp" must be seconds, not negative and less than 73 years`},
		{burst, "5,1,1", "5,∑x,1", `"Request tokens" must be an integer from 1 to 16777216`},
		{burst, "5,1,1", "5,1,∑2147483648", `"Response tokens" must be an integer from 0 to 2147483647`},
	} {
		before, after, _ := strings.Cut(c.marked, "∑")
		rows, errs := readAll(c.head + c.good + "\n" + before + after + "\n" + c.good)
		if d := cmp.Diff([]string{fmt.Sprintf("l.csv:3:%d: %s", len(before)+1, c.want)}, errs); d != "" || len(rows) != 2 {
			t.Errorf("%s: %q (-want +got):\n%s", c.marked, rows, d)
		}
	}
	const none = `no header that names once each of ["TIMESTAMP" "ContextTokens" "GeneratedTokens"] or of ["Timestamp" "Request tokens" "Response tokens"]`
	for in, want := range map[string]string{
		"\na,b\n1,2\n3,4": "l.csv:2: " + none,
		"TIMESTAMP,ContextTokens,ContextTokens,GeneratedTokens\n": "l.csv:1: " + none,
		"TIMESTAMP,GeneratedTokens,GeneratedTokens\n":             "l.csv:1: " + none,
	} {
		if rows, errs := readAll(in); rows != nil || len(errs) != 1 || errs[0] != want {
			t.Errorf("%q: %q %q", in, rows, errs)
		}
	}
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader(burst+"5,1,1"), iotest.ErrReader(broken)), "-", 0)
	if err := r.Read(new(formats.Request)); err != broken {
		t.Errorf("got %v", err)
	}
}

// The real trace, beside another reader of CSV.
func TestAzure(t *testing.T) {
	t.Parallel()
	in, err := os.ReadFile("testdata/azure50.csv")
	if err != nil {
		t.Fatal(err)
	}
	want, err := csv.NewReader(strings.NewReader(string(in))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows, errs := readAll(string(in))
	if len(rows) != 50 || errs != nil {
		t.Fatalf("%d rows, %v", len(rows), errs)
	}
	for i, row := range rows {
		if !strings.HasSuffix(row, " "+want[i+1][1]+" "+want[i+1][2]) {
			t.Errorf("%v became %s", want[i+1], row)
		}
	}
	if rows[49] != "51 36.649398 2025 9" {
		t.Error(rows[49])
	}
}

// Whatever the lengths, in whatever order of columns.
func TestLengths(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.Permutation([]int{0, 1, 2, 3}).Draw(t, "columns")
		var in strings.Builder
		line := func(values ...string) {
			for i, c := range columns {
				if i > 0 {
					in.WriteByte(',')
				}
				in.WriteString(values[c])
			}
			in.WriteString("\n")
		}
		line("Timestamp", "Request tokens", "Response tokens", "Model")
		var want []string
		for i := range rapid.IntRange(0, 9).Draw(t, "rows") {
			at, input, output := rapid.Float64Range(0, 1e6).Draw(t, "at"), rapid.IntRange(1, 99).Draw(t, "input"), rapid.IntRange(0, 9).Draw(t, "output")
			line(fmt.Sprint(at), fmt.Sprint(input), fmt.Sprint(output), "m")
			if output > 0 {
				want = append(want, fmt.Sprint(i+2, at, input, output))
			}
		}
		rows, errs := readAll(in.String())
		if !cmp.Equal(want, rows) || errs != nil {
			t.Fatalf("%q: %q %q", in.String(), rows, errs)
		}
	})
}

// What is read is what another reader of CSV reads, or it is refused.
func FuzzReadEqualsEncodingCSV(f *testing.F) {
	f.Add("2023-11-16 18:17:03.9799600,4808,10")
	f.Add(" \"2024-05-10 00:00:00.009930+00:00\",1, 5")
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\"\r\n") {
			return
		}
		var row formats.Request
		if NewReader(strings.NewReader("TIMESTAMP,ContextTokens,GeneratedTokens\n"+line), "-", 0).Read(&row) != nil {
			return
		}
		want, err := csv.NewReader(strings.NewReader(line)).Read()
		if err != nil || len(want) != 3 {
			t.Fatalf("%q: %q, %v", line, want, err)
		}
		input, inErr := strconv.Atoi(strings.Trim(want[1], " \t"))
		output, outErr := strconv.Atoi(strings.Trim(want[2], " \t"))
		if inErr != nil || outErr != nil {
			t.Fatalf("%q was read", line)
		}
		if input != len(row.IDs) || int64(output) != row.Timing.OutputTokens.V {
			t.Fatalf("%q: %d ids, %v", line, len(row.IDs), row.Timing)
		}
	})
}
