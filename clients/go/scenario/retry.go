package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"example.com/cloud-dragon/dragon"
)

// recorder sends requests and keeps the errors of those that got no answer.
type recorder struct {
	client http.Client
	errs   []error
}

func (r *recorder) Do(request *http.Request) (*http.Response, error) {
	response, err := r.client.Do(request)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	return response, err
}

func (s *scenario) idempotentRetry(ctx context.Context) error {
	var sent recorder
	client, err := open(s.breakingServer, s.name, withToken(s.token), dragon.WithHTTPClient(&sent))
	if err != nil {
		return err
	}
	payment := dragon.TransactRequest{
		IdempotencyIDs: []string{"payment-4711"},
		Atomic:         []dragon.AtomicOperation{{Key: "bob", Add: new(int64(30))}},
	}
	answer, err := client.transactOnce(ctx, payment)
	if err != nil {
		return err
	}
	if len(sent.errs) != 1 {
		return fmt.Errorf("one connection should have broken: %v", sent.errs)
	}
	if _, ok := errors.AsType[*url.Error](sent.errs[0]); !ok {
		return fmt.Errorf("not the error of a connection: %w", sent.errs[0])
	}

	_, err = client.transact(ctx, payment)
	refused, err := wantRefusal(err, http.StatusConflict, dragon.ErrorCodeDuplicateRequest)
	if err != nil {
		return err
	}
	first, err := firstAnswer(refused)
	if err != nil {
		return err
	}
	balance, err := client.count(ctx, dragon.AtomicOperation{Key: "bob"})
	if err != nil {
		return err
	}
	return errors.Join(
		want("id", "payment-4711", refused.ID),
		want("same request", true, refused.SameRequest),
		want("answer", 30, answer.Atomic[0].Value),
		want("first answer", 30, first.Atomic[0].Value),
		want("version", answer.Version, first.Version),
		want("balance", 30, balance),
	)
}
