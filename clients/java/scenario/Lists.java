package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.api.DataApi;
import clouddragon.client.model.AtomicOperation;
import clouddragon.client.model.CounterState;
import clouddragon.client.model.ListAnswer;
import clouddragon.client.model.ListRequest;
import clouddragon.client.model.LockState;
import clouddragon.client.model.SetOperation;
import clouddragon.client.model.TransactRequest;
import clouddragon.client.model.ValueState;
import com.fasterxml.jackson.databind.node.IntNode;
import java.util.ArrayList;
import java.util.List;

/** Lists of values, counters and locks. */
final class Lists {
  private Lists() {}

  static void pages(Server server) throws Exception {
    String account = server.account();
    DataApi data = server.client();
    var expected = new ArrayList<String>();
    var write =
        new TransactRequest()
            .addAtomicItem(new AtomicOperation().key("page/counter").set(7L))
            .lockID("page/lock")
            .lockDur(30);
    for (int i = 0; i < 25; i++) {
      String key = "page/%02d".formatted(i);
      expected.add(key);
      write.addKvSetItem(new SetOperation().key(key).value(new IntNode(i)));
    }
    long handle = data.transact(account, write).getLock();

    Check.equal(expected, keys(data, account, "page/"));
    Check.equal(
        List.of(new CounterState().key("page/counter").value(7L)),
        data.list(account, of(ListRequest.KindEnum.COUNTERS)).getCounters());
    List<LockState> locks = data.list(account, of(ListRequest.KindEnum.LOCKS)).getLocks();
    Check.equal(1, locks.size());
    Check.equal("page/lock", locks.get(0).getId());
    Check.equal(handle, locks.get(0).getLock());
    data.transact(account, new TransactRequest().unlockID("page/lock").unlock(handle));
  }

  private static ListRequest of(ListRequest.KindEnum kind) {
    return new ListRequest().kind(kind).prefix("page/");
  }

  /** All keys that begin with a prefix, ten at a time. */
  static List<String> keys(DataApi data, String account, String prefix) throws ApiException {
    var keys = new ArrayList<String>();
    var request = new ListRequest().prefix(prefix).limit(10);
    while (true) {
      ListAnswer page = data.list(account, request);
      for (ValueState state : page.getKv()) {
        keys.add(state.getKey());
      }
      if (!Boolean.TRUE.equals(page.getMore())) {
        return keys;
      }
      request.after(keys.get(keys.size() - 1));
    }
  }
}
