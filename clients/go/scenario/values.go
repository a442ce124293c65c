package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"example.com/cloud-dragon/dragon"
)

// change replaces a value by what replace makes of it, and does so again when someone else has written in between.
func (a *account) change(ctx context.Context, key string, replace func(json.RawMessage) (json.RawMessage, error)) error {
	for {
		current, err := a.read(ctx, key)
		if err != nil {
			return err
		}
		value, err := replace(current.Value)
		if err != nil {
			return err
		}
		_, err = a.transact(ctx, dragon.TransactRequest{
			KVSet: []dragon.SetOperation{{Key: key, Value: value, IfVersion: &current.Version}},
		})
		if !refusedWith(err, dragon.ErrorCodePreconditionFailed) {
			return err
		}
	}
}

func (s *scenario) compareAndSwap(ctx context.Context) error {
	old, err := s.first.write(ctx, "limit", json.RawMessage(`10`))
	if err != nil {
		return err
	}
	quicker, err := s.second.write(ctx, "limit", json.RawMessage(`20`))
	if err != nil {
		return err
	}
	_, err = s.first.transact(ctx, dragon.TransactRequest{
		KVSet: []dragon.SetOperation{{Key: "limit", Value: json.RawMessage(`11`), IfVersion: &old.Version}},
	})
	refused, err := wantRefusal(err, http.StatusConflict, dragon.ErrorCodePreconditionFailed)
	if err != nil {
		return err
	}
	if refused.Version == nil || *refused.Version != quicker.Version {
		return fmt.Errorf("the refusal does not tell the current version: %+v", refused.ErrorAnswer)
	}

	// Someone else writes again between the first reading and the first writing of this one.
	attempts := 0
	err = s.first.change(ctx, "limit", func(value json.RawMessage) (json.RawMessage, error) {
		attempts++
		if attempts == 1 {
			if _, err := s.second.write(ctx, "limit", json.RawMessage(`30`)); err != nil {
				return nil, err
			}
		}
		var limit int64
		if err := json.Unmarshal(value, &limit); err != nil {
			return nil, err
		}
		return json.Marshal(limit + 1)
	})
	if err != nil {
		return err
	}
	limit, err := s.second.read(ctx, "limit")
	if err != nil {
		return err
	}
	return errors.Join(want("attempts", 2, attempts), want("value", "31", string(limit.Value)))
}

func (s *scenario) compareAndSwapByMany(ctx context.Context) error {
	clients := []*account{s.first, s.second}
	errs := make([]error, 8)
	var appending sync.WaitGroup
	for writer := range errs {
		appending.Go(func() {
			errs[writer] = clients[writer%len(clients)].appendTo(ctx, "members", writer)
		})
	}
	appending.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}

	state, err := s.first.read(ctx, "members")
	if err != nil {
		return err
	}
	var members []int
	if err := json.Unmarshal(state.Value, &members); err != nil {
		return err
	}
	slices.Sort(members)
	return want("members", "[0 1 2 3 4 5 6 7]", fmt.Sprint(members))
}

// appendTo appends a number to a list, which is made if it does not exist.
func (a *account) appendTo(ctx context.Context, key string, number int) error {
	return a.change(ctx, key, func(value json.RawMessage) (json.RawMessage, error) {
		var list []int
		if value != nil {
			if err := json.Unmarshal(value, &list); err != nil {
				return nil, err
			}
		}
		return json.Marshal(append(list, number))
	})
}
