// Package simulate is the simulate tool: it joins a simulated server with
// simulated GPUs, whose power follows the server's steps.
package simulate
