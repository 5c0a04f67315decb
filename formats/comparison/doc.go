// Package comparison writes compare.Comparison: as the JSON document
// wattrace.comparison/1, as text for a terminal, as Markdown and as CSV.
//
// The JSON document is the comparison; every other form is a rendering of it. The CSV
// form has a row for each of the document's rows. comparison.schema.json is a JSON Schema
// of the document (draft 2020-12), generated from the Go types by make schema. Its spine:
//
//	{"schema": "wattrace.comparison/1", "producer": "wattrace 0.1.0",
//	 "alpha": 0.05, "test": "mann-whitney", "needed": 4,
//	 "groups": [{"name": "base", "runs": [{"path": "base-1.json", "start": "2026-05-28T20:26:40Z"}, ...]}, ...],
//	 "differ": [{"name": "driver", "values": [{"value": "570.86.15", "runs": [...]}, ...]}],
//	 "unknown": [{"name": "power_limit"}],
//	 "rows": [{"phase": "profiling", "metric": "output_tokens_per_joule", "unit": "tokens/J", "better": "higher", "of_record": true,
//	           "group": "new", "base": {"runs": 6, "median": 0.123, "interval": {"low", "high"}}, "new": {...},
//	           "ratio": {"value": 1.021, "random": {"low", "high"}, "sensors": 0.0, "total": {"low", "high"}}, "difference": {...},
//	           "p": 0.00216, "sensors": "same_devices", "result": "better"}],
//	 "conditions": [{"condition": "energy_per_output_token > +2%", "phase": "profiling", "group": "new", "outcome": "does_not_hold",
//	                 "value": -0.0205, "interval": {"low", "high"}}],
//	 "axis": {"axis": "power_limit", "unit": "W", "phases": [{"phase": "profiling", "points": [...]}]}}
//
// # Rules
//
//   - A row compares one metric of one phase between the first group, which is the base,
//     and another. ratio is new / base and stands where all values are above 0;
//     difference is new - base in the metric's unit.
//   - random is what repeating the runs would vary, total has what is not known of the
//     sensors and does not cancel as well (sensors is that standard uncertainty). With a
//     single run of each random is what its report says is random of the measurement.
//   - result is undecided, better, worse, or differs where neither way is better. It is
//     decided where p is at most alpha and total does not hold the value of no change;
//     reason says why it is not, and is absent where simply no difference shows.
//   - A row with device is of that device alone, of the base and of the other group, which
//     may be another one: then a note says how they were matched.
//   - What is unknown is absent. Nothing is null, NaN or infinite.
//
// How each figure is computed is in the package comment of wattrace/reduce/compare.
//
// History: 1 is the first. Since then came, optional, device of a row, and in CSV its columns
// at the end.
package comparison
