package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/cloud-dragon/dragon"
)

// patience is how long a request is sent again, on top of what it waits itself.
const patience = 30 * time.Second

// transactOnce sends a request that carries an idempotency id until it is known what came of it.
func (a *account) transactOnce(ctx context.Context, request dragon.TransactRequest) (*dragon.TransactAnswer, error) {
	end := time.Now().Add(time.Duration(request.LockWait)*time.Second + patience)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		answer, err := a.transact(ctx, request)
		if err == nil {
			return answer, nil
		}
		wait := pause
		if refused, ok := errors.AsType[*refusal](err); ok {
			if refused.Code == dragon.ErrorCodeDuplicateRequest {
				return firstAnswer(refused)
			}
			wait = max(wait, refused.retryAfter)
		}
		if !mayPass(err) || time.Until(end) < wait {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// mayPass tells whether the same request may go through later. It may have been applied, or not.
func mayPass(err error) bool {
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		return true // There was no answer: the connection broke, or the time was over.
	}
	switch refused.Code {
	case dragon.ErrorCodeUnavailable, dragon.ErrorCodeOutcomeUnknown, dragon.ErrorCodeTooManyRequests:
		return true
	case "": // A gateway's answer.
		return slices.Contains([]int{500, 502, 503, 504}, refused.status)
	default:
		return false
	}
}

// firstAnswer is what the same request was answered when it was applied.
func firstAnswer(duplicate *refusal) (*dragon.TransactAnswer, error) {
	if !duplicate.SameRequest || duplicate.Response == nil {
		return nil, duplicate
	}
	var answer dragon.TransactAnswer
	if err := json.Unmarshal(duplicate.Response, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

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

// otherRequest gives an id that was used to a request that is not the same.
func (s *scenario) otherRequest(ctx context.Context) error {
	_, err := s.first.transactOnce(ctx, dragon.TransactRequest{
		IdempotencyIDs: []string{"payment-4711"},
		Atomic:         []dragon.AtomicOperation{{Key: "bob", Add: new(int64(31))}},
	})
	refused, err := wantRefusal(err, http.StatusConflict, dragon.ErrorCodeDuplicateRequest)
	if err != nil {
		return err
	}
	return want("same request", false, refused.SameRequest)
}

func (s *scenario) ttlOfNothing(ctx context.Context) error {
	_, err := s.first.transact(ctx, dragon.TransactRequest{
		IdempotencyIDs: []string{"forgotten"}, IdempotencyTTL: new(int32(0)),
	})
	_, err = wantRefusal(err, http.StatusBadRequest, dragon.ErrorCodeInvalidRequest)
	return err
}

// gateway answers for the server before it lets a request through.
type gateway struct {
	http.Client
	answers []http.Response
}

func (g *gateway) Do(request *http.Request) (*http.Response, error) {
	if len(g.answers) == 0 {
		return g.Client.Do(request)
	}
	answer := &g.answers[0]
	g.answers = g.answers[1:]
	return answer, nil
}

// gatewayErrors sends the same again after a gateway's errors that may pass, and gives up after those that do not.
func (s *scenario) gatewayErrors(ctx context.Context) error {
	answer := func(status int, kind, body string) http.Response {
		header := http.Header{"Content-Type": {kind}}
		return http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}
	}
	passing := &gateway{answers: []http.Response{
		answer(http.StatusBadGateway, "text/html", "<h1>Bad Gateway</h1>"),
		answer(http.StatusGatewayTimeout, "application/json", `{"message":"timeout"}`),
	}}
	client, err := open(s.server, s.name, withToken(s.token), dragon.WithHTTPClient(passing))
	if err != nil {
		return err
	}
	request := dragon.TransactRequest{
		IdempotencyIDs: []string{"payment-4712"},
		Atomic:         []dragon.AtomicOperation{{Key: "alice", Add: new(int64(1))}},
	}
	if _, err := client.transactOnce(ctx, request); err != nil {
		return err
	}

	passing.answers = []http.Response{answer(http.StatusNotFound, "text/html", "<h1>Not Found</h1>")}
	_, err = client.transactOnce(ctx, request)
	_, err = wantRefusal(err, http.StatusNotFound, "")
	return err
}
