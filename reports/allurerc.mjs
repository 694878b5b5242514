// Allure 3 renders a run with this: npx allure@3 generate --config reports/allurerc.mjs artifacts/RUN/allure-results
const skipped = reason => ({ statuses: ["skipped"], message: new RegExp(`${reason}: `) });

export default {
  name: "IPVS conformance",
  plugins: { awesome: { options: { singleFile: true, reportLanguage: "en", groupBy: ["parentSuite", "suite"] } } },
  // The verdicts, as NUnit's results stand for them.
  categories: [
    { name: "violated: the test showed the opposite of a claim", matchers: { statuses: ["failed"] } },
    { name: "broken: the harness failed", matchers: { statuses: ["broken"] } },
    { name: "not-supported: the proxy does not declare a feature", matchers: skipped("not-supported") },
    { name: "not-testable: this kernel cannot show the claim", matchers: skipped("not-testable") },
  ],
};
