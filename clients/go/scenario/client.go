package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"example.com/cloud-dragon/dragon"
)

// grace is how long an answer may take on top of what the request itself waits.
const grace = 15 * time.Second

// account is an account of a server.
type account struct {
	client *dragon.ClientWithResponses
	name   string
}

func open(server, name string, options ...dragon.ClientOption) (*account, error) {
	client, err := dragon.NewClientWithResponses(server, options...)
	if err != nil {
		return nil, err
	}
	return &account{client: client, name: name}, nil
}

// withToken sends a token along with each request.
func withToken(token string) dragon.ClientOption {
	return dragon.WithRequestEditorFn(func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+token)
		return nil
	})
}

// refusal is an answer other than the wanted one. It has no Code when it is not Cloud Dragon's, but a gateway's say.
type refusal struct {
	dragon.ErrorAnswer
	status     int
	retryAfter time.Duration
}

func (r *refusal) Error() string {
	if r.Code == "" {
		return fmt.Sprintf("not an answer of Cloud Dragon: %d %s", r.status, http.StatusText(r.status))
	}
	return fmt.Sprintf("%s: %s", r.Code, r.Message)
}

// failure is the error that an answer other than the wanted one stands for.
func failure(response *http.Response, answer *dragon.ErrorAnswer) error {
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	refused := &refusal{status: response.StatusCode, retryAfter: time.Duration(seconds) * time.Second}
	if answer != nil {
		refused.ErrorAnswer = *answer
	}
	return refused
}

// refusedWith tells whether the server refused a request with this code.
func refusedWith(err error, code dragon.ErrorCode) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && refused.Code == code
}

// transact sends one atomic request.
func (a *account) transact(ctx context.Context, request dragon.TransactRequest) (*dragon.TransactAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(request.LockWait)*time.Second+grace)
	defer cancel()
	response, err := a.client.TransactWithResponse(ctx, a.name, request)
	if err != nil {
		return nil, err
	}
	if response.JSON200 == nil {
		return nil, failure(response.HTTPResponse, response.JSONDefault)
	}
	return response.JSON200, nil
}

// read reads a value.
func (a *account) read(ctx context.Context, key string) (*dragon.ValueState, error) {
	answer, err := a.transact(ctx, dragon.TransactRequest{KVGet: []dragon.GetOperation{{Key: key}}})
	if err != nil {
		return nil, err
	}
	return &answer.KV[0], nil
}

// write writes a value.
func (a *account) write(ctx context.Context, key string, value json.RawMessage) (*dragon.TransactAnswer, error) {
	return a.transact(ctx, dragon.TransactRequest{KVSet: []dragon.SetOperation{{Key: key, Value: value}}})
}

// count changes or reads a counter, and returns its value.
func (a *account) count(ctx context.Context, operation dragon.AtomicOperation) (int64, error) {
	answer, err := a.transact(ctx, dragon.TransactRequest{Atomic: []dragon.AtomicOperation{operation}})
	if err != nil {
		return 0, err
	}
	return answer.Atomic[0].Value, nil
}

// watch waits so many seconds for a key to have another version than the one given. It returns nil when it has not.
func (a *account) watch(ctx context.Context, key string, version int64, seconds int32) (*dragon.ValueState, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+grace)
	defer cancel()
	request := dragon.WatchRequest{ID: key, Version: version, Wait: &seconds}
	response, err := a.client.WatchWithResponse(ctx, a.name, request)
	if err != nil {
		return nil, err
	}
	if response.JSON200 == nil && response.StatusCode() != http.StatusNoContent {
		return nil, failure(response.HTTPResponse, response.JSONDefault)
	}
	return response.JSON200, nil
}

// list reads one page.
func (a *account) list(ctx context.Context, request dragon.ListRequest) (*dragon.ListAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	response, err := a.client.ListWithResponse(ctx, a.name, request)
	if err != nil {
		return nil, err
	}
	if response.JSON200 == nil {
		return nil, failure(response.HTTPResponse, response.JSONDefault)
	}
	return response.JSON200, nil
}

// want is an error unless both are the same.
func want[T comparable](what string, wanted, got T) error {
	if wanted != got {
		return fmt.Errorf("%s: wanted %v, got %v", what, wanted, got)
	}
	return nil
}

// wantRefusal is an error unless err is a refusal with this status and code.
func wantRefusal(err error, status int, code dragon.ErrorCode) (*refusal, error) {
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		return nil, fmt.Errorf("wanted %s, got: %w", code, cmp.Or(err, errors.New("no error")))
	}
	return refused, errors.Join(want("status", status, refused.status), want("code", code, refused.Code))
}
