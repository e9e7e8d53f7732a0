// Answers verification vectors with the PKIX verifier of the JDK.
//
//   java test/interop/Vectors.java <folder of isthmus trust vectors>
//
// Prints one line per vector: <name> TAB accept|reject TAB <why>.
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;

public class Vectors {
  private static final Pattern BLOCK =
      Pattern.compile("-----BEGIN CERTIFICATE-----\\n([A-Za-z0-9+/=\\n]+)-----END CERTIFICATE-----");
  /** The index is of our own making, one member a line: no JSON library is needed. */
  private static final Pattern MEMBER = Pattern.compile("\"(name|chain|anchors)\": \"([^\"]+)\"");

  static List<X509Certificate> read(Path path) throws Exception {
    var factory = CertificateFactory.getInstance("X.509");
    var certificates = new ArrayList<X509Certificate>();
    var blocks = BLOCK.matcher(Files.readString(path, StandardCharsets.US_ASCII));
    while (blocks.find()) {
      byte[] der = Base64.getMimeDecoder().decode(blocks.group(1));
      var in = new ByteArrayInputStream(der);
      var certificate = (X509Certificate) factory.generateCertificate(in);
      if (in.available() > 0) throw new IllegalArgumentException("trailing bytes");
      certificates.add(certificate);
    }
    return certificates;
  }

  static void verify(Path chainPath, Path anchorsPath) throws Exception {
    List<X509Certificate> chain = read(chainPath);
    Set<TrustAnchor> anchors = new HashSet<>();
    for (X509Certificate anchor : read(anchorsPath)) anchors.add(new TrustAnchor(anchor, null));
    var target = new X509CertSelector();
    target.setCertificate(chain.get(0));
    var parameters = new PKIXBuilderParameters(anchors, target);
    parameters.setRevocationEnabled(false);
    parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(chain)));
    CertPathBuilder.getInstance("PKIX").build(parameters);
  }

  public static void main(String[] args) throws Exception {
    Path dir = Path.of(args[0]);
    String name = "";
    String chain = "";
    var members = MEMBER.matcher(Files.readString(dir.resolve("index.json")));
    while (members.find()) {
      switch (members.group(1)) {
        case "name" -> name = members.group(2);
        case "chain" -> chain = members.group(2);
        default -> {
          String answer = "accept";
          String why = "";
          try {
            verify(dir.resolve(chain), dir.resolve(members.group(2)));
          } catch (Exception e) {
            answer = "reject";
            Throwable cause = e.getCause() == null ? e : e.getCause();
            why = String.valueOf(cause.getMessage()).replace('\n', ' ');
          }
          System.out.println(name + "\t" + answer + "\t" + why);
        }
      }
    }
  }
}
