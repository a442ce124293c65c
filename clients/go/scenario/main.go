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

// parts are what makes a step.
type parts = []func(context.Context) error

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
		name  string
		parts parts
	}{
		{"auth", parts{s.tokens}},
		{"lock with a wait", parts{s.lockWithWait}},
		{"guarded write", parts{s.guardedWrite}},
		{"holding a lock", parts{s.heldLonger, s.heldNoMore, s.heldOutOfReach, s.takenTwice}},
		{"counter", parts{s.counter}},
		{"compare-and-swap", parts{s.compareAndSwap, s.compareAndSwapByMany}},
		{"idempotent retry", parts{s.idempotentRetry, s.ttlOfNothing, s.gatewayErrors, s.otherRequest}},
		{"watch loop", parts{s.watchLoop, s.watchWithoutChange, s.watchDeletion}},
		{"list pages", parts{s.pagesOfList, s.limitOfNothing, s.otherLists}},
		{"exact numbers and values", parts{
			s.exactCounters, s.exactValues, s.exactWriting, s.nullAndAbsent, s.integersInValues,
		}},
	}
	for _, step := range steps {
		for _, part := range step.parts {
			if err := part(ctx); err != nil {
				return fmt.Errorf("%s: %w", step.name, err)
			}
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
