package scenario;

import clouddragon.client.api.DataApi;
import clouddragon.client.model.ErrorCode;
import clouddragon.client.model.GetOperation;
import clouddragon.client.model.ListRequest;
import clouddragon.client.model.SetOperation;
import clouddragon.client.model.TransactRequest;
import com.fasterxml.jackson.databind.node.TextNode;

/** Tokens and rights. */
final class Access {
  private Access() {}

  static void rights(Server server) throws Exception {
    String account = server.account();
    var read = new TransactRequest().addKvGetItem(new GetOperation().key("access"));
    var write =
        new TransactRequest()
            .addKvSetItem(new SetOperation().key("access").value(new TextNode("x")));

    Check.refused(
        401, ErrorCode.UNAUTHORIZED, () -> server.clientWithoutToken().transact(account, read));

    DataApi reader = server.readingClient();
    Check.refused(403, ErrorCode.FORBIDDEN, () -> reader.transact(account, write));
    Check.equal(0L, reader.transact(account, read).getKv().get(0).getVersion());
    Check.that(reader.list(account, new ListRequest()).getKv().isEmpty(), "nothing was written");

    // A code that this client does not know is no reason to fail.
    Check.equal(ErrorCode.UNKNOWN_DEFAULT_OPEN_API, ErrorCode.fromValue("of_a_later_server"));
  }
}
