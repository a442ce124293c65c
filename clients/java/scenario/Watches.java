package scenario;

import clouddragon.client.ApiException;
import clouddragon.client.ApiResponse;
import clouddragon.client.api.DataApi;
import clouddragon.client.model.SetOperation;
import clouddragon.client.model.TransactRequest;
import clouddragon.client.model.ValueState;
import clouddragon.client.model.WatchRequest;
import com.fasterxml.jackson.databind.node.IntNode;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.Predicate;

/** Waiting for a key to change. */
final class Watches {
  private static final int LAST = 50;

  private Watches() {}

  static void loop(Server server) throws Exception {
    var seen = new ArrayList<ValueState>();
    Callable<Void> watcher =
        () -> {
          follow(
              server.client(),
              server.account(),
              "watched",
              0,
              state -> {
                seen.add(state);
                return state.getValue().intValue() != LAST;
              });
          return null;
        };
    Callable<Void> writer =
        () -> {
          DataApi data = server.client();
          for (int i = 1; i <= LAST; i++) {
            Values.write(data, server.account(), "watched", new IntNode(i));
          }
          return null;
        };
    Check.together(List.of(watcher, writer));

    long version = 0;
    for (ValueState state : seen) {
      Check.that(state.getVersion() > version, "versions rise");
      version = state.getVersion();
    }
    Check.equal(new IntNode(LAST), seen.get(seen.size() - 1).getValue());
  }

  static void nothingAndDeletion(Server server) throws Exception {
    String account = server.account();
    DataApi data = server.client();
    long version = Values.write(data, account, "watched", new IntNode(0));
    var watch = new WatchRequest().id("watched").version(version).waitSeconds(1);
    ApiResponse<ValueState> nothing = data.watchWithHttpInfo(account, watch);
    Check.equal(204, nothing.getStatusCode());
    Check.equal(null, nothing.getData());

    var deletion = new SetOperation().key("watched").delete(true);
    data.transact(account, new TransactRequest().addKvSetItem(deletion));
    ValueState deleted = data.watch(account, watch);
    Check.equal(0L, deleted.getVersion());
    Check.equal(null, deleted.getValue());
  }

  /** Passes on what a key becomes after a version, until it is told that this is enough. */
  static void follow(
      DataApi data, String account, String key, long version, Predicate<ValueState> wantsMore)
      throws ApiException {
    while (true) {
      var watch = new WatchRequest().id(key).version(version).waitSeconds(60);
      ValueState state = data.watch(account, watch);
      if (state == null) {
        continue; // 204: nothing has changed in a minute.
      }
      version = state.getVersion();
      if (!wantsMore.test(state)) {
        return;
      }
    }
  }
}
