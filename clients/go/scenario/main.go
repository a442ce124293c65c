// The scenario uses the generated client for everything that the guide tells of, and checks what comes back.
package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// scenario is what the steps work with.
type scenario struct {
	server, breakingServer string
	name, token, readToken string

	// Two clients of the same account.
	first, second *account
	// The handle of the lock "nightly" that the second client has got.
	handle int64
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := fromEnvironment()
	if err != nil {
		return err
	}
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"tokens", s.tokens},
		{"lock with a wait", s.lockWithWait},
		{"guarded write", s.guardedWrite},
		{"counter", s.counter},
		{"compare and swap", s.compareAndSwap},
		{"compare and swap by many", s.compareAndSwapByMany},
		{"idempotent retry", s.idempotentRetry},
		{"watch loop", s.watchLoop},
		{"watch without a change", s.watchWithoutChange},
		{"watch of a deletion", s.watchDeletion},
		{"pages of a list", s.pagesOfList},
		{"lists of counters and locks", s.otherLists},
		{"exact counters", s.exactCounters},
		{"exact values", s.exactValues},
		{"exact values with escapes and white space", s.exactWriting},
		{"null and absent", s.nullAndAbsent},
		{"integers in values", s.integersInValues},
	}
	for _, step := range steps {
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Println("ok:", step.name)
	}
	return nil
}

func fromEnvironment() (*scenario, error) {
	s := &scenario{}
	for name, setting := range map[string]*string{
		"DRAGON_SERVER":          &s.server,
		"DRAGON_BREAKING_SERVER": &s.breakingServer,
		"DRAGON_ACCOUNT":         &s.name,
		"DRAGON_TOKEN":           &s.token,
		"DRAGON_READ_TOKEN":      &s.readToken,
	} {
		if *setting = os.Getenv(name); *setting == "" {
			return nil, fmt.Errorf("%s is not set", name)
		}
	}
	for _, client := range []**account{&s.first, &s.second} {
		var err error
		if *client, err = open(s.server, s.name, withToken(s.token)); err != nil {
			return nil, err
		}
	}
	return s, nil
}
