// Package logs lists every format that a request log can come in, once: what a
// program that takes request logs takes.
//
// [Codec.Open] gives them all one form, the text of a log of ours (package
// requests), which a log of another program is turned into while it is read: in
// constant memory, but for the ids that [aiperf.Survey] holds, and nothing is written.
// The formats themselves are the packages requests, aiperf, benchserve, trtllmbench and
// perfmetrics in formats, where they are specified, with what of them is held.
//
// What a log says of when its requests were is its [Time]: a log may know instants only
// since a boot that it does not name, until [Log.On] says which, or none at all. Its clock
// then has no unix_nanos. What its tool states of the run itself are [Log.Stated] figures.
//
// A log that was turned has what the other says: the seq of a request is its number in
// the file, slot and target are 0 and say nothing, a phase whose load is not known has
// the plan "times", which no figure is made from, and the run's trace has neither path nor
// hash. Its phase lines say when the first request of a phase was sent and the last ended.
package logs
