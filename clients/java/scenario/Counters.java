package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.api.DataApi;
import clouddragon.client.model.AtomicOperation;
import clouddragon.client.model.ErrorAnswer;
import clouddragon.client.model.ErrorCode;
import clouddragon.client.model.TransactAnswer;
import clouddragon.client.model.TransactRequest;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.stream.LongStream;

/** Counters, sequences, and requests that happen once however often they are sent. */
final class Counters {
  private static final ObjectMapper MAPPER = ExactJson.decimalMapper();
  private static final int ATTEMPTS = 8;

  private Counters() {}

  static void additions(Server server) throws Exception {
    List<DataApi> clients = List.of(server.client(), server.client(), server.client());
    var additions = new ArrayList<Callable<Long>>();
    for (int i = 0; i < 10; i++) {
      DataApi data = clients.get(i % clients.size());
      additions.add(() -> add(data, server.account(), "visits", 1));
    }
    var answers = new TreeSet<Long>(Check.together(additions));
    Check.equal(LongStream.rangeClosed(1, 10).boxed().toList(), List.copyOf(answers));

    long last = add(clients.get(0), server.account(), "visits", 100);
    Check.equal(11L, last - 100 + 1);
    Check.equal(110L, last);
  }

  static void sentAgain(Server server) throws Exception {
    String account = server.account();
    DataApi data = server.breakingClient();
    var payment =
        new TransactRequest()
            .addIdempotencyIDsItem("payment-4711")
            .addAtomicItem(new AtomicOperation().key("paid").add(30L));

    Check.that(isLost(data, account, payment), "the first answer is lost");
    ErrorAnswer duplicate =
        Check.refused(409, ErrorCode.DUPLICATE_REQUEST, () -> data.transact(account, payment));
    Check.equal("payment-4711", duplicate.getId());
    Check.equal(true, duplicate.getSameRequest());
    TransactAnswer first = MAPPER.treeToValue(duplicate.getResponse(), TransactAnswer.class);
    Check.equal(30L, first.getAtomic().get(0).getValue());
    Check.equal(first, once(data, account, payment));
    Check.equal(30L, read(data, account, "paid"));
  }

  static void exact(Server server) throws Exception {
    DataApi data = server.client();
    for (long value : new long[] {9007199254740993L, Long.MAX_VALUE, Long.MIN_VALUE}) {
      var set = new AtomicOperation().key("exact").set(value);
      data.transact(server.account(), new TransactRequest().addAtomicItem(set));
      Check.equal(value, read(data, server.account(), "exact"));
    }
  }

  /** Sends a request that has an idempotency id until it is known what came of it. */
  static TransactAnswer once(DataApi data, String account, TransactRequest request)
      throws ApiException, IOException, InterruptedException {
    long pause = 100;
    for (int attempt = 1; ; attempt++) {
      try {
        return data.transact(account, request);
      } catch (ApiException exception) {
        if (Errors.is(ErrorCode.DUPLICATE_REQUEST, exception)) {
          return firstAnswer(exception);
        }
        if (attempt == ATTEMPTS || !Errors.mayPass(exception)) {
          throw exception;
        }
        Thread.sleep(Math.max(pause, Errors.retryAfter(exception).toMillis()));
        pause *= 2;
      }
    }
  }

  /** What the same request was answered when it was applied. */
  private static TransactAnswer firstAnswer(ApiException exception)
      throws ApiException, IOException {
    ErrorAnswer duplicate = Errors.answer(exception).orElseThrow(() -> exception);
    if (!duplicate.getSameRequest() || duplicate.getResponse() == null) {
      throw exception;
    }
    return MAPPER.treeToValue(duplicate.getResponse(), TransactAnswer.class);
  }

  private static boolean isLost(DataApi data, String account, TransactRequest request) {
    try {
      data.transact(account, request);
      return false;
    } catch (ApiException exception) {
      return Errors.isBroken(exception) && Errors.answer(exception).isEmpty();
    }
  }

  private static long add(DataApi data, String account, String key, long number)
      throws ApiException {
    var addition = new AtomicOperation().key(key).add(number);
    return data.transact(account, new TransactRequest().addAtomicItem(addition))
        .getAtomic()
        .get(0)
        .getValue();
  }

  private static long read(DataApi data, String account, String key) throws ApiException {
    var read = new AtomicOperation().key(key);
    return data.transact(account, new TransactRequest().addAtomicItem(read))
        .getAtomic()
        .get(0)
        .getValue();
  }
}
